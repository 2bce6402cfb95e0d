//! The model's own expectation of the next token.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::activation;
use inject_collisions::models::{Decoder, Logits, PrefixCache, Tap, TokenBatch};

use super::{Place, Proposer, growing, most_likely};
use crate::{InvertError, noise::spread, read, widened};

/// The tokens the model itself finds most likely next, in batches that grow.
///
/// At the last block and after the final norm, the states given are all it takes: the state before the open position says
/// what is expected there. At other taps the model runs on to its head, one position at a time.
///
/// At the first position the token that prompts begin with is expected, if there is one; else what the model expects behind any
/// token at all, on average.
///
/// Clones share one cache, so the same source can appear several times in a policy with different limits.
#[derive(Clone, Debug)]
pub struct Prior {
    limit: usize,
    first: Option<u32>,
    known: Arc<Mutex<Known>>,
    /// The most likely tokens behind which prefix.
    ranked: Option<Expected>,
}

/// What the model said so far.
#[derive(Debug, Default)]
struct Known {
    /// The prefix as far as it went through the whole model.
    ids: Vec<u32>,
    cache: Option<PrefixCache>,
    /// The target whose prompt the cache belongs to: another may be another model's.
    target: Option<u64>,
    /// The logits behind `ids`, where the model gave them.
    logits: Vec<f64>,
    /// The logarithms of all tokens' probabilities behind any token, of a model with so many tokens and such a width.
    anywhere: Option<((usize, usize), Vec<f64>)>,
}

/// The most likely tokens behind one prefix.
#[derive(Clone, Debug)]
struct Expected {
    target: u64,
    prefix: Vec<u32>,
    ids: Vec<u32>,
}

impl Prior {
    /// The `limit` most likely tokens.
    pub fn up_to(limit: usize) -> Self {
        Prior { limit, first: None, known: Arc::default(), ranked: None }
    }

    /// The same, with another number of tokens.
    pub fn limited_to(self, limit: usize) -> Self {
        Prior { limit, ranked: None, ..self }
    }

    /// The same, and this token at the first position: BOS, where prompts begin with it.
    pub fn beginning_with(self, first: Option<u32>) -> Self {
        Prior { first, ..self }
    }

    /// The token that prompts begin with, if the position is the first and there is one.
    pub(super) fn beginning(&self, place: &Place<'_>) -> Option<u32> {
        self.first.filter(|_| place.position() == 0)
    }

    /// What is expected at a position: the logarithm of every token's probability, but for a constant.
    pub(super) fn expectation(&self, place: &Place<'_>) -> Result<Vec<f64>, InvertError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = place.position().checked_sub(1) else {
            return known.expected_anywhere(place.decoder);
        };
        let decoder = place.decoder;
        let last_block = Tap::Block(decoder.config().n_layers());
        if place.tap() == Tap::FinalNorm || place.tap() == last_block {
            let state = place.target.row_tensor(before, decoder);
            let state = if place.tap() == Tap::FinalNorm { state } else { decoder.final_norm(state) };
            return Ok(widened(place.vocabulary.logits(state)?));
        }
        known.run_on(place)?;
        Ok(known.logits.clone())
    }

    fn rank(&self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        match self.beginning(place) {
            Some(first) => Ok(vec![first]),
            None => Ok(most_likely(&self.expectation(place)?, self.limit)),
        }
    }
}

impl Known {
    /// The probability of a token behind a single other one, averaged over tokens from all over the vocabulary: roughly how frequent
    /// it is in what the model was trained on.
    fn expected_anywhere(&mut self, decoder: &Decoder) -> Result<Vec<f64>, InvertError> {
        /// Tokens averaged over.
        const BEHIND: usize = 64;
        let model = (decoder.config().vocab_size, decoder.config().d_model);
        if let Some((known, expected)) = &self.anywhere
            && *known == model
        {
            return Ok(expected.clone());
        }
        let vocab_size = model.0;
        let prompts: Vec<[u32; 1]> = spread(vocab_size as u32).take(BEHIND).map(|id| [id]).collect();
        let forward = decoder.forward(&TokenBatch::new(&prompts)?, &[], Logits::Last)?;
        let mut sums = vec![0.0; vocab_size];
        if let Some(logits) = forward.logits {
            // One by one: all shares together, in f64, would take as much memory again as the logits, twice over.
            for row in 0..prompts.len() {
                let shares = read(activation::softmax(logits.clone().narrow(0, row, 1), 2))?;
                sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            }
        }
        // A probability may round to nothing.
        let expected: Vec<f64> = sums.iter().map(|sum| sum.max(f64::MIN_POSITIVE).ln()).collect();
        self.anywhere = Some((model, expected.clone()));
        Ok(expected)
    }

    /// Brings the cache of the whole model up to the prefix.
    fn run_on(&mut self, place: &Place<'_>) -> Result<(), InvertError> {
        let positions = place.target.positions();
        let same = self.ids.iter().zip(place.prefix).take_while(|(a, b)| a == b).count();
        let fresh = match &self.cache {
            Some(cache) => cache.sequence_len() != positions || self.target != Some(place.target.id()),
            None => true,
        };
        if !fresh && self.ids == place.prefix {
            return Ok(());
        }
        if fresh {
            self.cache = Some(place.decoder.prefix_cache(1, positions, Tap::FinalNorm)?);
            self.target = Some(place.target.id());
        }
        // At least one token is computed anew: its logits are what is wanted.
        let held = if fresh { 0 } else { same.min(place.prefix.len() - 1) };
        let cache = self.cache.as_mut().ok_or(InvertError::NoStates)?;
        cache.truncate(held.min(cache.len()));
        let missing = place.prefix[cache.len()..].to_vec();
        let last = missing.len() - 1;
        let tokens = TokenBatch::new(&[missing])?;
        let mut forward = place.decoder.extend(cache, &tokens, &[Tap::FinalNorm], Logits::None)?;
        let states = forward.states.remove(&Tap::FinalNorm).ok_or(InvertError::NoStates)?; // [1, missing, d_model]
        let state = states.narrow(1, last, 1).squeeze_dim(0);
        self.logits = widened(place.vocabulary.logits(state)?);
        self.ids = place.prefix.to_vec();
        Ok(())
    }
}

impl Proposer for Prior {
    fn name(&self) -> &'static str {
        "prior"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let here = |known: &Expected| known.target == place.target.id() && known.prefix == place.prefix;
        if !self.ranked.as_ref().is_some_and(here) {
            let ids = self.rank(place)?;
            self.ranked = Some(Expected { target: place.target.id(), prefix: place.prefix.to_vec(), ids });
        }
        let ranked = self.ranked.as_ref().map_or(&[][..], |known| &known.ids);
        let untested = ranked.iter().copied().filter(|&id| !place.tested.contains(id));
        Ok(untested.take(growing(place.tested.len())).collect())
    }
}
