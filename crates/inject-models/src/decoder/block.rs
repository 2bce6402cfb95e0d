//! One block: two residual branches.

use burn::{module::Module, tensor::Tensor};

use super::{
    attention::Attention,
    cache::{Cache, KeysValues},
    feed_forward::FeedForward,
    lanes::Lanes,
    mapped::Mapped,
    norm::Norm,
    rows::Rows,
    sight::Sight,
    weight::Weight,
};
use crate::config::Residual;

/// Attention and feed-forward, each added to the residual stream.
#[derive(Module, Debug)]
pub(super) struct Block {
    /// The norms before the branches, as [`Residual::norms_before`] says.
    pub(super) attention_norm: Option<Norm>,
    pub(super) attention: Attention,
    /// The norms after the branches, as [`Residual::norms_after`] says.
    pub(super) post_attention_norm: Option<Norm>,
    pub(super) feed_forward_norm: Option<Norm>,
    pub(super) feed_forward: FeedForward,
    pub(super) post_feed_forward_norm: Option<Norm>,
    #[module(skip)]
    pub(super) residual: Residual,
}

impl Block {
    /// Returns the matrices of the block's four linear maps, in the order of the computation.
    pub(super) fn weights(&self) -> impl Iterator<Item = &Weight> {
        let (attention, feed_forward) = (&self.attention, &self.feed_forward);
        [&attention.qkv, &attention.out, &feed_forward.up, &feed_forward.down]
            .into_iter()
            .map(|linear| &linear.weight)
    }

    /// The matrices that are in mapped files.
    pub(super) fn mapped(&self) -> impl Iterator<Item = &Mapped> {
        self.weights().filter_map(Weight::mapped)
    }

    /// # Shapes
    ///
    /// `states` is `[rows, d_model]`, and so is the result.
    pub(super) fn forward(
        &self,
        states: Tensor<2>,
        rows: &Rows,
        sight: &Sight,
        cache: Cache<'_, KeysValues>,
        lanes: Lanes,
    ) -> Tensor<2> {
        match cache {
            // No row waits for the keys of another, so each lane takes its rows through the whole block.
            Cache::Read(held) => lanes.map(states, |states| {
                let projected = self.project(states.clone());
                let mixed = self.attention.mix(projected, rows, sight, Cache::Read(held), lanes);
                self.after_attention(states, mixed)
            }),
            Cache::None | Cache::Write(_) => {
                let projected = lanes.map(states.clone(), |states| self.project(states));
                let mixed = self.attention.mix(projected, rows, sight, cache, lanes);
                lanes.zip(states, mixed, |states, mixed| self.after_attention(states, mixed))
            }
        }
    }

    /// Queries, keys and values side by side.
    fn project(&self, states: Tensor<2>) -> Tensor<2> {
        self.attention.project(normed(&self.attention_norm, states))
    }

    fn after_attention(&self, states: Tensor<2>, mixed: Tensor<2>) -> Tensor<2> {
        let attention = normed(&self.post_attention_norm, self.attention.out.forward(mixed));
        let feed_forward = |states: Tensor<2>| {
            let branch = self.feed_forward.forward(normed(&self.feed_forward_norm, states));
            normed(&self.post_feed_forward_norm, branch)
        };
        match self.residual {
            Residual::Pre | Residual::Post | Residual::Sandwich => {
                let states = states + attention;
                states.clone() + feed_forward(states)
            }
            // The order of the two additions is that of transformers 5.23, `modeling_gpt_neox.py`.
            Residual::Parallel => feed_forward(states.clone()) + attention + states,
        }
    }
}

fn normed(norm: &Option<Norm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        None => x,
        Some(norm) => norm.forward(x),
    }
}
