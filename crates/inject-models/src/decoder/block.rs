//! One block: two residual branches.

use burn::{
    module::Module,
    tensor::{Bool, Tensor},
};

use super::{
    attention::Attention, cache::KeysValues, feed_forward::FeedForward, lanes::Lanes, norm::Norm,
    rotary::RotaryTable,
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
    /// `x` is `[batch * positions, d_model]`, and so is the result.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        batch: usize,
        rotary: Option<&RotaryTable>,
        hidden: Tensor<4, Bool>,
        cache: Option<&mut KeysValues>,
        lanes: Lanes,
    ) -> Tensor<2> {
        let fused = lanes.map(x.clone(), |x| self.attention.qkv.forward(self.attention_norm.forward(x)));
        let mixed = self.attention.mix(fused, batch, rotary, hidden, cache, lanes);
        lanes.zip(x, mixed, |x, mixed| self.after_attention(x, mixed))
    }

    /// A run of `run` positions of one sequence, and behind them the rows of alternatives.
    ///
    /// `rotaries` and `hidden` are those of the run and of the alternatives.
    ///
    /// # Shapes
    ///
    /// `x` is `[run + alternatives, d_model]`, and so is the result.
    pub(super) fn with_alternatives(
        &self,
        x: Tensor<2>,
        run: usize,
        rotaries: Option<&(RotaryTable, RotaryTable)>,
        hidden: (Tensor<4, Bool>, Tensor<2, Bool>),
        cache: &mut KeysValues,
        lanes: Lanes,
    ) -> Tensor<2> {
        let fused = lanes.map(x.clone(), |x| self.attention.qkv.forward(self.attention_norm.forward(x)));
        let beside = fused.clone().narrow(0, run, fused.dims()[0] - run);
        let fused = fused.narrow(0, 0, run);
        let (for_run, for_beside) = rotaries.map(|(run, beside)| (run, beside)).unzip();
        let mixed = self.attention.mix(fused, 1, for_run, hidden.0, Some(cache), lanes);
        let beside = self.attention.mix_alternatives(beside, for_beside, hidden.1, cache);
        let mixed = Tensor::cat(vec![mixed, beside], 0);
        lanes.zip(x, mixed, |x, mixed| self.after_attention(x, mixed))
    }

    /// # Shapes
    ///
    /// `x` is `[candidates, d_model]`, and so is the result.
    pub(super) fn candidates(
        &self,
        x: Tensor<2>,
        rotary: Option<&RotaryTable>,
        cache: &KeysValues,
        lanes: Lanes,
    ) -> Tensor<2> {
        lanes.map(x, |x| {
            let fused = self.attention.qkv.forward(self.attention_norm.forward(x.clone()));
            let mixed = self.attention.mix_candidates(fused, rotary, cache);
            self.after_attention(x, mixed)
        })
    }

    fn after_attention(&self, x: Tensor<2>, mixed: Tensor<2>) -> Tensor<2> {
        let x = x + post(&self.post_attention_norm, self.attention.out.forward(mixed));
        let branch = self.feed_forward.forward(self.feed_forward_norm.forward(x.clone()));
        x + post(&self.post_feed_forward_norm, branch)
    }
}

fn post(norm: &Option<Norm>, branch: Tensor<2>) -> Tensor<2> {
    match norm {
        None => branch,
        Some(norm) => norm.forward(branch),
    }
}
