//! Gradients of the states of candidates with respect to their embeddings, block by block.

use std::iter;

use burn::tensor::Tensor;

use super::{
    Decoder, PrefixCache,
    cache::{Cache, KeysValues},
    rows::Rows,
    sight::Sights,
};
use crate::{error::ModelError, tap::Tap};

impl Decoder {
    /// Pulls a covector of the states at a tap back to the embeddings of some candidates for the next token of one cached sequence: for
    /// each candidate, the gradient of the product of its state with the covector.
    ///
    /// Only one block at a time keeps what its gradient needs, and only its matrices are widened. So the gradient of a model whose
    /// weights stay in files takes little memory.
    ///
    /// # Shapes
    ///
    /// `covector` is `[1, d_model]`, and the result `[candidates, d_model]`.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::candidates`] does, for a covector of another width than `d_model`, and with [`ModelError::Device`] if no
    /// gradient arrives.
    pub fn pulled_back(
        &self,
        cache: &PrefixCache,
        ids: &[u32],
        tap: Tap,
        covector: Tensor<2>,
    ) -> Result<Tensor<2>, ModelError> {
        self.check_candidates(cache, ids, &[tap])?;
        let [one, width] = covector.dims();
        self.check_embeddings(one, width)?;
        let rows = Rows::candidates(cache.len, ids.len(), cache.sequence_len);
        let blocks = &self.blocks[..self.blocks_needed(tap)];
        let taps: Vec<Tap> = iter::once(Tap::Embedding).chain((1..=blocks.len()).map(Tap::Block)).collect();
        let states = self.pass(&taps, self.embeddings_of(ids), &rows, Cache::Read(&cache.blocks));
        // From the last to the first: the states after the last block, then those before each block.
        let mut states = states.into_values().rev();
        let mut covectors = covector.repeat_dim(0, ids.len());
        let last = states.next().expect("a pass collects every tap it is given");
        match tap {
            Tap::FinalNorm => {
                covectors = gradient(last, covectors, |states| self.final_norm.forward(states))?;
            }
            // The state after the last block that is needed.
            Tap::Embedding | Tap::Block(_) => {}
        }
        let mut sights = Sights::new(&rows, self.device(), self.dtype());
        let mut walk = self.paging.walk(blocks);
        for ((i, (block, held)), input) in blocks.iter().zip(&cache.blocks).enumerate().rev().zip(states) {
            self.lanes.check();
            let sight = sights.of(&block.attention.config);
            covectors = gradient(input, covectors, |states| {
                // In one lane: each lane would widen the matrices for itself.
                block.forward(states, &rows, &sight, Cache::<KeysValues>::Read(held), self.lanes.single())
            })?;
            walk.left(i);
        }
        Ok(match self.config.embedding.scale {
            None => covectors,
            Some(scale) => covectors.mul_scalar(scale),
        })
    }
}

/// Returns the gradient of the product of a result with covectors, with respect to what it is computed from.
fn gradient(
    input: Tensor<2>,
    covectors: Tensor<2>,
    compute: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Result<Tensor<2>, ModelError> {
    let input = input.autodiff().require_grad();
    let product = (compute(input.clone()) * covectors.autodiff()).sum();
    let mut gradients = product.backward();
    input.grad_remove(&mut gradients).ok_or_else(|| ModelError::Device {
        reason: "no gradient arrived at the states before a block".to_owned(),
    })
}
