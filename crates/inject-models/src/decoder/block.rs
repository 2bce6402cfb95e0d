//! One block: two residual branches.

use burn::{
    module::Module,
    tensor::{Bool, Tensor},
};

use super::{attention::Attention, cache::KeysValues, feed_forward::FeedForward, norm::Norm, rotary::RotaryTable};

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
    /// `x` is `[batch, positions, d_model]`, and so is the result.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        rotary: Option<&RotaryTable>,
        hidden: Tensor<4, Bool>,
        cache: Option<&mut KeysValues>,
    ) -> Tensor<3> {
        let [batch, positions, d_model] = x.dims();
        let branch = self.attention.forward(self.attention_norm.forward(x.clone()), rotary, hidden, cache);
        let x = x + post(&self.post_attention_norm, branch);
        let rows = x.reshape([batch * positions, d_model]);
        self.feed_forward(rows).reshape([batch, positions, d_model])
    }

    /// # Shapes
    ///
    /// `x` is `[candidates, d_model]`, and so is the result.
    pub(super) fn candidates(&self, x: Tensor<2>, rotary: Option<&RotaryTable>, cache: &KeysValues) -> Tensor<2> {
        let branch = self.attention.candidates(self.attention_norm.forward(x.clone()), rotary, cache);
        self.feed_forward(x + post(&self.post_attention_norm, branch))
    }

    fn feed_forward(&self, x: Tensor<2>) -> Tensor<2> {
        let branch = self.feed_forward.forward(self.feed_forward_norm.forward(x.clone()));
        x + post(&self.post_feed_forward_norm, branch)
    }
}

fn post<const D: usize>(norm: &Option<Norm>, branch: Tensor<D>) -> Tensor<D> {
    match norm {
        None => branch,
        Some(norm) => norm.forward(branch),
    }
}
