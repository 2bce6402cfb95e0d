//! Cached sequences: continuing them, and trying tokens beside or after them.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::{
    Decoder, Forward, Logits, PrefixCache,
    cache::{Cache, KeysValues},
    rows::Rows,
};
use crate::{
    error::ModelError,
    tap::Tap,
    tokens::{TokenBatch, check_ids, check_len},
};

/// A token that replaces one token of a run. It attends to the tokens before that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The place in the run, from 0.
    pub place: usize,
    /// The id of the alternative token.
    pub id: u32,
}

/// Passes that continue a cached prefix.
impl Decoder {
    /// Makes an empty cache for `batch` sequences of `sequence_len` tokens each, through which the taps up to `deepest`
    /// can be read.
    ///
    /// The full length must be known from the start: LongRoPE chooses its frequencies by it.
    ///
    /// # Errors
    ///
    /// Fails for a tap that the model does not have, or a length beyond the table of positions.
    pub fn prefix_cache(
        &self,
        batch: usize,
        sequence_len: usize,
        deepest: Tap,
    ) -> Result<PrefixCache, ModelError> {
        self.check_taps(&[deepest])?;
        check_len(&self.config, sequence_len)?;
        let (device, dtype) = (self.device(), self.dtype());
        let blocks = self.config.blocks[..self.blocks_needed(deepest)]
            .iter()
            .map(|block| KeysValues::new(&block.attention, batch, sequence_len, &device, dtype))
            .collect();
        Ok(PrefixCache { blocks, batch, sequence_len, deepest, len: 0 })
    }

    /// Continues the cached sequences by the same number of tokens each, and computes the states of the new positions.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::forward`] does, and if the tokens do not fit the cache: another batch, several lengths, not
    /// enough room, or a tap beyond the deepest. The cache is then unchanged.
    pub fn extend(
        &self,
        cache: &mut PrefixCache,
        tokens: &TokenBatch,
        taps: &[Tap],
        logits: Logits,
    ) -> Result<Forward, ModelError> {
        self.check_extension(cache, tokens, taps, logits)?;
        let rows = Rows::runs(cache.batch, cache.len, tokens.width(), cache.sequence_len);
        let forward = self.read(tokens, &rows, Cache::Write(&mut cache.blocks), taps, logits);
        cache.len += tokens.width();
        Ok(forward)
    }

    /// Continues one cached sequence as [`Decoder::extend`] does, and computes in the same pass the states of
    /// alternatives to some of the new tokens. The alternatives do not enter the cache.
    ///
    /// The pass costs as much as that of a run longer by the number of alternatives. It saves a pass wherever the run is
    /// wrong and an alternative is right.
    ///
    /// # Shapes
    ///
    /// The states of the run and of the alternatives, `[tokens, d_model]` and `[alternatives, d_model]`.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::extend`] and [`Decoder::candidates`] do, and with [`ModelError::NoSuchPlace`] for an
    /// alternative to a token that the run does not have. The cache is then unchanged.
    pub fn extend_with_alternatives(
        &self,
        cache: &mut PrefixCache,
        tokens: &TokenBatch,
        alternatives: &[Alternative],
        tap: Tap,
    ) -> Result<(Tensor<2>, Tensor<2>), ModelError> {
        self.check_extension(cache, tokens, &[tap], Logits::None)?;
        self.check_next(cache, alternatives.len(), &[tap])?;
        let (places, ids): (Vec<usize>, Vec<u32>) = alternatives.iter().map(|a| (a.place, a.id)).unzip();
        check_ids(&self.config, 0, &ids)?;
        let run = tokens.width();
        if let Some(&place) = places.iter().find(|&&place| place >= run) {
            return Err(ModelError::NoSuchPlace { place, tokens: run });
        }
        let rows = Rows::runs(1, cache.len, run, cache.sequence_len).with_alternatives(places);
        let embeddings = self.embeddings_of(&[tokens.padded_ids(), &ids].concat());
        let states = self.pass_to(tap, embeddings, &rows, Cache::Write(&mut cache.blocks));
        cache.len += run;
        Ok((states.clone().narrow(0, 0, run), states.narrow(0, run, ids.len())))
    }

    /// Computes the state at one tap of every candidate for the next token of one cached sequence.
    ///
    /// The candidates share the cached keys and values. None of them enters the cache.
    ///
    /// # Shapes
    ///
    /// `[candidates, d_model]`.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::extend`] does, and if the cache holds more than one sequence.
    pub fn candidates(&self, cache: &PrefixCache, ids: &[u32], tap: Tap) -> Result<Tensor<2>, ModelError> {
        self.check_candidates(cache, ids, &[tap])?;
        let rows = Rows::candidates(cache.len, ids.len(), cache.sequence_len);
        Ok(self.pass_to(tap, self.embeddings_of(ids), &rows, Cache::Read(&cache.blocks)))
    }

    /// Computes the states of every candidate at several taps in one pass; otherwise as [`Decoder::candidates`].
    ///
    /// # Shapes
    ///
    /// For each tap `[candidates, d_model]`.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::candidates`] does.
    pub fn candidates_at(
        &self,
        cache: &PrefixCache,
        ids: &[u32],
        taps: &[Tap],
    ) -> Result<BTreeMap<Tap, Tensor<2>>, ModelError> {
        self.check_candidates(cache, ids, taps)?;
        let rows = Rows::candidates(cache.len, ids.len(), cache.sequence_len);
        Ok(self.pass(taps, self.embeddings_of(ids), &rows, Cache::Read(&cache.blocks)))
    }

    /// Computes the states of candidates that are points of the embedding space rather than tokens.
    ///
    /// A search by gradients follows these. The rows of [`Decoder::token_embedding`] give the states of their tokens.
    ///
    /// # Shapes
    ///
    /// `[candidates, d_model]` to the same.
    ///
    /// # Errors
    ///
    /// Fails as [`Decoder::candidates`] does, and if the rows have another width than `d_model`.
    pub fn candidates_from_embeddings(
        &self,
        cache: &PrefixCache,
        embeddings: Tensor<2>,
        tap: Tap,
    ) -> Result<Tensor<2>, ModelError> {
        self.check_taps(&[tap])?;
        let [candidates, width] = embeddings.dims();
        self.check_embeddings(candidates, width)?;
        self.check_next(cache, candidates, &[tap])?;
        let rows = Rows::candidates(cache.len, candidates, cache.sequence_len);
        Ok(self.pass_to(tap, embeddings, &rows, Cache::Read(&cache.blocks)))
    }
}
