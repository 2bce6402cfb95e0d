//! The positions of prompts that a study measures.

use std::num::NonZeroUsize;

use inject_sipit::models::{Decoder, Logits, PrefixCache, Tap, TokenBatch};

use crate::error::StudyError;

/// The positions of a prompt that are measured: a first one, and others at a constant distance after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ChosenPositions {
    /// The first position, counted from 0.
    pub first: usize,
    /// The distance between two measured positions.
    pub every: NonZeroUsize,
}

impl ChosenPositions {
    /// Selects the position `first` and every `every`-th position after it.
    pub const fn new(first: usize, every: NonZeroUsize) -> Self {
        ChosenPositions { first, every }
    }

    /// Returns whether a position is measured.
    fn contain(self, position: usize) -> bool {
        position >= self.first && (position - self.first).is_multiple_of(self.every.get())
    }

    /// Checks that some prompt has a selected position.
    ///
    /// # Errors
    ///
    /// [`StudyError::TooFewPrompts`] if there are no prompts, [`StudyError::TooFew`] if no prompt has such a position.
    pub(crate) fn check(self, prompts: &[Vec<u32>]) -> Result<(), StudyError> {
        if prompts.is_empty() {
            return Err(StudyError::TooFewPrompts { found: 0, expected: 1 });
        }
        match prompts.iter().any(|prompt| prompt.len() > self.first) {
            true => Ok(()),
            false => Err(StudyError::TooFew {
                what: "prompts that reach the first position",
                found: 0,
                expected: 1,
            }),
        }
    }

    /// Calls `look` for each selected position of a prompt, with the cache of the tokens before it, the token at it, and a function for
    /// the finished share of the position. `done` receives the finished share of the prompt.
    pub(crate) fn walk(
        self,
        decoder: &Decoder,
        ids: &[u32],
        taps: &[Tap],
        done: &mut dyn FnMut(f64),
        mut look: impl FnMut(&PrefixCache, usize, u32, &mut dyn FnMut(f64)) -> Result<(), StudyError>,
    ) -> Result<(), StudyError> {
        let deepest = taps.iter().copied().max().unwrap_or(Tap::Embedding);
        let mut cache = decoder.prefix_cache(1, ids.len(), deepest)?;
        for (position, &token) in ids.iter().enumerate() {
            if self.contain(position) {
                look(&cache, position, token, &mut |part| done((position as f64 + part) / ids.len() as f64))?;
            }
            done((position + 1) as f64 / ids.len() as f64);
            decoder.extend(&mut cache, &TokenBatch::new(&[[token]])?, &[], Logits::None)?;
        }
        Ok(())
    }
}
