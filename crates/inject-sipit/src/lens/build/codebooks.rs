//! The states of the vocabulary after fixed prefixes, computed at all taps in one pass.

use std::collections::BTreeMap;

use crate::{
    error::InvertError,
    lens::{
        Codebook, CodebookKind, First,
        fit::{Fitted, fit_first, projected},
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
    taps: &'a [Tap],
    /// The cache of each prefix.
    caches: Vec<PrefixCache>,
    first: FirstPosition,
    /// The number of tokens computed so far. `total` is the number of all tokens to compute.
    done: usize,
    total: usize,
    /// Projection, offset and points of the first position at each tap, if any token may be first.
    tables: BTreeMap<Tap, Table>,
}

struct Table {
    projection: Tensor<2>,
    offset: Tensor<2>,
    points: Vec<f32>,
}

impl<'a> Codebooks<'a> {
    pub(super) fn new(
        decoder: &'a Decoder,
        taps: &'a [Tap],
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
        Ok(Codebooks { decoder, taps, caches, first, done: 0, total: 0, tables: BTreeMap::new() })
    }

    fn empty(&self) -> Result<PrefixCache, InvertError> {
        let deepest = self.taps.iter().copied().max().unwrap_or(Tap::Embedding);
        Ok(self.decoder.prefix_cache(1, 1, deepest)?)
    }

    /// Counts the tokens to compute for a text with these distinct tokens.
    pub(super) fn expect(&mut self, of_text: &[u32]) {
        let passes = self.caches.len() + usize::from(self.first == FirstPosition::Any);
        self.total = passes * (self.decoder.config().vocab_size + of_text.len());
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
            for (tap, states) in self.decoder.candidates_at(cache, batch, self.taps)? {
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

    /// Returns every token's point at every tap, `[vocab_size, rank]` row-major. Also computes the tables of first positions,
    /// fitted to `sample`.
    pub(super) fn points(
        &mut self,
        fitted: &BTreeMap<Tap, Fitted>,
        sample: &[u32],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<Tap, Vec<f32>>, InvertError> {
        let vocab_size = self.decoder.config().vocab_size;
        let vocabulary: Vec<u32> = (0..vocab_size as u32).collect();
        let mut points: BTreeMap<Tap, Vec<f32>> = self.taps.iter().map(|&tap| (tap, Vec::new())).collect();
        for batch in vocabulary.chunks(LENS_BATCH) {
            for (tap, mean) in self.mean(batch)? {
                let maps = &fitted[&tap];
                let values = projected(mean, &maps.token_projection, &maps.token_offset)?;
                points.entry(tap).or_default().extend(values);
            }
            self.report(batch.len() * self.caches.len(), progress);
        }
        if self.first == FirstPosition::Any {
            self.tabulate_first(&vocabulary, sample, progress)?;
        }
        Ok(points)
    }

    fn tabulate_first(
        &mut self,
        vocabulary: &[u32],
        sample: &[u32],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), InvertError> {
        let cache = self.empty()?;
        let (decoder, taps) = (self.decoder, self.taps);
        let states_of = |tokens: &[u32]| decoder.candidates_at(&cache, tokens, taps);
        let mut sampled: BTreeMap<Tap, Vec<Tensor<2>>> = BTreeMap::new();
        for batch in sample.chunks(LENS_BATCH) {
            for (tap, states) in states_of(batch)? {
                sampled.entry(tap).or_default().push(states.cast(DType::F32));
            }
            self.report(batch.len(), progress);
        }
        let mut tables: BTreeMap<Tap, Table> = BTreeMap::new();
        for (tap, parts) in sampled {
            let rank = LENS_FIRST_RANK.min(self.decoder.config().d_model);
            let (projection, offset) = fit_first(Tensor::cat(parts, 0), rank)?;
            tables.insert(tap, Table { projection, offset, points: Vec::new() });
        }
        for batch in vocabulary.chunks(LENS_BATCH) {
            for (tap, states) in states_of(batch)? {
                if let Some(table) = tables.get_mut(&tap) {
                    table.points.extend(projected(states, &table.projection, &table.offset)?);
                }
            }
            self.report(batch.len(), progress);
        }
        self.tables = tables;
        Ok(())
    }

    /// Returns the part of a lens for the first position at one tap.
    ///
    /// # Panics
    ///
    /// Panics if the points of this tap were not computed.
    pub(super) fn first(&mut self, tap: Tap) -> Result<First, InvertError> {
        if let FirstPosition::Bos(id) = self.first {
            return Ok(First::Bos(id));
        }
        let Table { projection, offset, points } =
            self.tables.remove(&tap).expect("the points of every tap were computed");
        let codebook = Codebook::new(projection, offset, &points, CodebookKind::First)?;
        Ok(First::Any(Box::new(codebook)))
    }
}
