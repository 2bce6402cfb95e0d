//! A run of tokens, and in the same pass other tokens for some of its places.

use burn::tensor::Tensor;

use super::{Decoder, Logits, PrefixCache, mask::Masks, rotary::Rotaries};
use crate::{
    ModelError, Tap,
    tokens::{TokenBatch, check_ids, ids_tensor},
};

/// A token in the place of one token of a run, behind the tokens before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The place in the run, from 0.
    pub place: usize,
    /// The token.
    pub id: u32,
}

impl Decoder {
    /// Continues one cached sequence as [`Decoder::extend`] does, and computes in the same pass the states of alternatives to some
    /// of the new tokens. Only the run enters the cache.
    ///
    /// It costs what a run longer by the number of alternatives costs, and spares a pass wherever the run is wrong and an
    /// alternative right.
    ///
    /// # Shapes
    ///
    /// The states of the run and of the alternatives, `[tokens, d_model]` and `[alternatives, d_model]`.
    ///
    /// # Errors
    ///
    /// As [`Decoder::extend`] and [`Decoder::candidates`]; [`ModelError::NoSuchPlace`] for an alternative to a token that the run
    /// does not have. The cache is then as before.
    pub fn extend_with_alternatives(
        &self,
        cache: &mut PrefixCache,
        tokens: &TokenBatch,
        alternatives: &[Alternative],
        tap: Tap,
    ) -> Result<(Tensor<2>, Tensor<2>), ModelError> {
        self.check_extension(cache, tokens, &[tap], Logits::None)?;
        let (held, run) = (cache.len, tokens.width());
        self.check_next(cache, alternatives.len(), &[tap])?;
        let ids: Vec<u32> = alternatives.iter().map(|alternative| alternative.id).collect();
        check_ids(&self.config, 0, &ids)?;
        let places: Vec<usize> = alternatives.iter().map(|alternative| alternative.place).collect();
        if let Some(&place) = places.iter().find(|&&place| place >= run) {
            return Err(ModelError::NoSuchPlace { place, tokens: run });
        }

        let (device, dtype) = (self.device(), self.dtype());
        let numbers =
            |first: usize| -> Vec<u32> { places.iter().map(|place| (first + place) as u32).collect() };
        let looked_up = self.scale(self.embedding.val().select(0, ids_tensor(&ids, &device)));
        let beside = match &self.positions {
            None => looked_up,
            Some(table) => looked_up + table.val().select(0, ids_tensor(&numbers(held), &device)),
        };
        let mut x = Tensor::cat(vec![self.embed(tokens.to_tensor(&device), held, run), beside], 0);
        let mut states = (tap == Tap::Embedding).then(|| x.clone());
        let at = ids_tensor(&numbers(0), &device);
        let mut rotaries = Rotaries::new(held, run, cache.sequence_len, device.clone(), dtype);
        let mut masks = Masks::new(held, run, device);
        for (i, (block, keys_values)) in self.blocks.iter().zip(&mut cache.blocks).enumerate() {
            let config = &block.attention.config;
            let rotary = config.rotary.as_ref().map(|config| rotaries.table(config));
            let rotaries = rotary.as_ref().map(|table| (table.clone(), table.at(at.clone())));
            let hidden = (masks.hidden(config.span), masks.hidden_beside(config.span, &places));
            x = block.with_alternatives(x, run, rotaries.as_ref(), hidden, keys_values, self.lanes);
            if tap == Tap::Block(i + 1) {
                states = Some(x.clone());
            }
        }
        cache.len += run;
        let states = match states {
            Some(states) => states,
            // The one tap behind the last block.
            None => self.final_norm.forward(x),
        };
        let alternatives = states.clone().narrow(0, run, ids.len());
        Ok((states.narrow(0, 0, run), alternatives))
    }
}
