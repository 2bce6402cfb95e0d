//! The states of the vocabulary after fixed prefixes, computed at all taps in one pass.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    error::InvertError,
    lens::{
        Codebook, CodebookKind, First,
        fit::{Fitted, fit_first, projected},
        share::TokenPoints,
    },
    models::{Decoder, Logits, PrefixCache, Progress, Tap, TokenBatch, Unit},
    tuning::{LENS_BATCH, LENS_FIRST_RANK},
};
use burn::tensor::{DType, Tensor};

use super::FirstPosition;

/// The passes over the vocabulary. States are projected as soon as they are computed, so the memory required is that of the lens
/// and not that of the states.
pub(super) struct Codebooks<'a> {
    decoder: &'a Decoder,
    taps: Vec<Tap>,
    /// The cached keys and values of each prefix.
    caches: Vec<PrefixCache>,
    first: FirstPosition,
    /// The number of tokens computed so far. `total` is the number of all tokens to compute.
    done: usize,
    total: usize,
    /// For the first position, where any token may stand: the maps of each tap.
    tables: BTreeMap<Tap, Table>,
}

struct Table {
    projection: Tensor<2>,
    offset: Tensor<2>,
}

impl<'a> Codebooks<'a> {
    pub(super) fn new(
        decoder: &'a Decoder,
        taps: &[Tap],
        prefixes: &[Vec<u32>],
        first: FirstPosition,
    ) -> Result<Self, InvertError> {
        let deepest = taps.iter().copied().max().unwrap_or(Tap::Embedding);
        let caches = prefixes.iter().map(|prefix| {
            let mut cache = decoder.prefix_cache(1, prefix.len() + 1, deepest)?;
            decoder.extend(&mut cache, &TokenBatch::new(&[prefix])?, &[], Logits::None)?;
            Ok(cache)
        });
        let caches = caches.collect::<Result<_, InvertError>>()?;
        Ok(Codebooks {
            decoder,
            taps: taps.to_vec(),
            caches,
            first,
            done: 0,
            total: 0,
            tables: BTreeMap::new(),
        })
    }

    fn empty(&self) -> Result<PrefixCache, InvertError> {
        let deepest = self.taps.iter().copied().max().unwrap_or(Tap::Embedding);
        Ok(self.decoder.prefix_cache(1, 1, deepest)?)
    }

    /// Counts the tokens to compute: those of some batches, and the distinct ones of the text.
    pub(super) fn expect(&mut self, batches: Range<usize>, of_text: &[u32]) {
        let passes = self.caches.len() + usize::from(self.first == FirstPosition::Any);
        self.total = passes * (self.tokens(batches).len() + of_text.len());
    }

    fn report(&mut self, computed: usize, progress: &mut dyn FnMut(Progress<'_>)) {
        self.done += computed;
        progress(Progress::new("vocabulary", Unit::Tokens, self.done as u64, self.total as u64));
    }

    /// Returns the mean states of some tokens over the prefixes, `[tokens, d_model]` for each tap.
    pub(super) fn mean_states(
        &mut self,
        tokens: &[u32],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<Tap, Tensor<2>>, InvertError> {
        let mut parts: BTreeMap<Tap, Vec<Tensor<2>>> = BTreeMap::new();
        for batch in tokens.chunks(LENS_BATCH) {
            for (tap, mean) in self.mean(batch)? {
                parts.entry(tap).or_default().push(mean);
            }
            self.report(batch.len() * self.caches.len(), progress);
        }
        Ok(parts.into_iter().map(|(tap, parts)| (tap, Tensor::cat(parts, 0))).collect())
    }

    fn mean(&self, batch: &[u32]) -> Result<BTreeMap<Tap, Tensor<2>>, InvertError> {
        let mut sums: BTreeMap<Tap, Tensor<2>> = BTreeMap::new();
        for cache in &self.caches {
            for (tap, states) in self.decoder.candidates_at(cache, batch, &self.taps)? {
                let states = states.cast(DType::F32);
                let sum = match sums.remove(&tap) {
                    None => states,
                    Some(sum) => sum + states,
                };
                sums.insert(tap, sum);
            }
        }
        let share = 1.0 / self.caches.len() as f64;
        Ok(sums.into_iter().map(|(tap, sum)| (tap, sum.mul_scalar(share))).collect())
    }

    /// Fits the tables of first positions to a sample of tokens, unless every prompt begins with one token.
    pub(super) fn fit_first(
        &mut self,
        sample: &[u32],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), InvertError> {
        if let FirstPosition::Bos(_) = self.first {
            return Ok(());
        }
        let cache = self.empty()?;
        let mut sampled: BTreeMap<Tap, Vec<Tensor<2>>> = BTreeMap::new();
        for batch in sample.chunks(LENS_BATCH) {
            for (tap, states) in self.decoder.candidates_at(&cache, batch, &self.taps)? {
                sampled.entry(tap).or_default().push(states.cast(DType::F32));
            }
            self.report(batch.len(), progress);
        }
        for (tap, parts) in sampled {
            let rank = LENS_FIRST_RANK.min(self.decoder.config().d_model);
            let (projection, offset) = fit_first(Tensor::cat(parts, 0), rank)?;
            self.tables.insert(tap, Table { projection, offset });
        }
        Ok(())
    }

    /// The number of batches of the vocabulary. The tokens of a batch are computed together.
    pub(super) fn batches(&self) -> usize {
        self.decoder.config().vocab_size.div_ceil(LENS_BATCH)
    }

    /// The tokens of some batches.
    pub(super) fn tokens(&self, batches: Range<usize>) -> Range<usize> {
        let end = |batch: usize| (batch * LENS_BATCH).min(self.decoder.config().vocab_size);
        end(batches.start)..end(batches.end)
    }

    /// The points of the tokens of some batches at every tap.
    pub(super) fn points(
        &mut self,
        fitted: &BTreeMap<Tap, Fitted>,
        batches: Range<usize>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<Tap, TokenPoints>, InvertError> {
        let tokens: Vec<u32> = self.tokens(batches).map(|token| token as u32).collect();
        let mut points: BTreeMap<Tap, TokenPoints> =
            self.taps.iter().map(|&tap| (tap, TokenPoints::default())).collect();
        for batch in tokens.chunks(LENS_BATCH) {
            for (tap, mean) in self.mean(batch)? {
                let maps = &fitted[&tap];
                let later = projected(mean, &maps.token_projection, &maps.token_offset)?;
                points.entry(tap).or_default().extend(TokenPoints { later, first: None });
            }
            self.report(batch.len() * self.caches.len(), progress);
        }
        if self.tables.is_empty() {
            return Ok(points);
        }
        let cache = self.empty()?;
        for batch in tokens.chunks(LENS_BATCH) {
            for (tap, states) in self.decoder.candidates_at(&cache, batch, &self.taps)? {
                let table = &self.tables[&tap];
                let first = Some(projected(states, &table.projection, &table.offset)?);
                points.entry(tap).or_default().extend(TokenPoints { later: Vec::new(), first });
            }
            self.report(batch.len(), progress);
        }
        Ok(points)
    }

    /// The maps of the table of first positions at a tap.
    pub(super) fn table(&self, tap: Tap) -> Option<[&Tensor<2>; 2]> {
        self.tables.get(&tap).map(|table| [&table.projection, &table.offset])
    }

    /// The knowledge of the first position at one tap, given the points of all tokens.
    ///
    /// # Panics
    ///
    /// Panics if the table of this tap was not fitted.
    pub(super) fn first(&mut self, tap: Tap, points: Option<Vec<f32>>) -> Result<First, InvertError> {
        if let FirstPosition::Bos(id) = self.first {
            return Ok(First::Bos(id));
        }
        let Table { projection, offset } =
            self.tables.remove(&tap).expect("the table of every tap was fitted");
        let codebook = Codebook::new(projection, offset, &points.unwrap_or_default(), CodebookKind::First)?;
        Ok(First::Any(Box::new(codebook)))
    }
}
