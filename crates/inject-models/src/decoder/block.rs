//! One block: two residual branches.

use burn::{module::Module, tensor::Tensor};

use super::{
    attention::Attention,
    cache::{Cache, KeysValues},
    feed_forward::FeedForward,
    lanes::Lanes,
    norm::Norm,
    rows::Rows,
    sight::Sight,
};

/// Attention, then feed-forward, each added to the residual stream.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) attention_norm: Norm,
    pub(super) attention: Attention,
    /// Sandwich norms only.
    pub(super) post_attention_norm: Option<Norm>,
    pub(super) feed_forward_norm: Norm,
    pub(super) feed_forward: FeedForward,
    /// Sandwich norms only.
    pub(super) post_feed_forward_norm: Option<Norm>,
}

impl Block {
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
        self.attention.qkv.forward(self.attention_norm.forward(states))
    }

    fn after_attention(&self, states: Tensor<2>, mixed: Tensor<2>) -> Tensor<2> {
        let states = states + normed(&self.post_attention_norm, self.attention.out.forward(mixed));
        let branch = self.feed_forward.forward(self.feed_forward_norm.forward(states.clone()));
        states + normed(&self.post_feed_forward_norm, branch)
    }
}

fn normed(norm: &Option<Norm>, branch: Tensor<2>) -> Tensor<2> {
    match norm {
        None => branch,
        Some(norm) => norm.forward(branch),
    }
}
