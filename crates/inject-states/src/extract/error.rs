//! Errors of extraction.

use inject_models::{ModelError, Tap};

use crate::{prompts::TooManyIds, store::StoreError};

/// The reason why states could not be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The list of taps is empty.
    #[error("no taps: expected at least one")]
    NoTaps,
    /// The decoder refused a prompt or a tap.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token ids of the prompts to keep take too many bytes.
    #[error(transparent)]
    TooManyIds(#[from] TooManyIds),
    /// A second reading of the prompts gave others.
    #[error(
        "the prompts are others when they are read again: found {found}, expected the {expected} of the first reading; a share reads them twice, so they cannot come from a pipe"
    )]
    PromptsChanged {
        /// The number of prompts of the second reading.
        found: usize,
        /// The number of prompts of the first reading.
        expected: usize,
    },
    /// A state is NaN or infinite.
    #[error("prompt {prompt}, position {position}: the state at {tap} holds {found}, expected finite values")]
    NotFinite {
        /// The number of the prompt.
        prompt: usize,
        /// The position within the prompt, from 0.
        position: usize,
        /// The tap at which the state was read.
        tap: Tap,
        /// The value of the coordinate: NaN or infinite.
        found: f32,
    },
}

impl ExtractError {
    /// Replaces the number of a prompt within a part by its number among all prompts.
    pub(super) fn renumbered(self, number: impl Fn(usize) -> usize) -> Self {
        match self {
            ExtractError::Model(ModelError::EmptyPrompt { prompt }) => {
                ExtractError::Model(ModelError::EmptyPrompt { prompt: number(prompt) })
            }
            ExtractError::Model(ModelError::TokenId { prompt, position, found, vocab_size }) => {
                let prompt = number(prompt);
                ExtractError::Model(ModelError::TokenId { prompt, position, found, vocab_size })
            }
            ExtractError::NotFinite { prompt, position, tap, found } => {
                ExtractError::NotFinite { prompt: number(prompt), position, tap, found }
            }
            ExtractError::Store(StoreError::Overflow { prompt, position, tap, found, dtype }) => {
                let prompt = number(prompt);
                ExtractError::Store(StoreError::Overflow { prompt, position, tap, found, dtype })
            }
            other => other,
        }
    }
}
