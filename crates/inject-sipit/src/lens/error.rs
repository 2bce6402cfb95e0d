//! Errors of lenses.

use std::path::PathBuf;

use crate::{models::Tap, states::CoverError, tensor_file::TensorFileError};

/// The reason why a lens cannot be made, stored, loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LensError {
    /// A file cannot be read or written, is not a lens, or is damaged.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The lens was made for other weights, so its rankings would be meaningless.
    #[error("the lens was made for the weights {found}, expected those of the model, {expected}")]
    OtherWeights {
        /// The weight hash in the lens.
        found: String,
        /// The weight hash of the model.
        expected: String,
    },
    /// The lens was made for another tap.
    #[error("the lens was made for {found}, expected {expected}")]
    OtherTap {
        /// The tap of the lens.
        found: Tap,
        /// The tap of the states.
        expected: Tap,
    },
    /// The lens was made for another width of states or another vocabulary size.
    #[error("the lens was made for {found} {what}, expected {expected}")]
    OtherShape {
        /// The unit: coordinates or tokens.
        what: &'static str,
        /// The size that the lens has.
        found: usize,
        /// The size that the model has.
        expected: usize,
    },
    /// The text is too short to fit a lens to.
    #[error("expected text of at least {expected} positions after the first of each prompt, found {found}")]
    TooLittleText {
        /// The number of positions that are not the first of their prompt.
        found: usize,
        /// The smallest number from which a lens can be fitted.
        expected: usize,
    },
    /// The list of taps is empty.
    #[error("no tap was asked for: expected at least one")]
    NoTaps,
    /// No prefix was given, or a prefix is empty.
    #[error("no prefix was given: expected at least one, of one token or more")]
    NoPrefix,
    /// A share of lenses was made for other weights, text, taps or prefixes, or was computed otherwise.
    #[error(
        "{} was made for other weights, text, taps or prefixes, or computed otherwise: all shares of a lens need the same --hold, \
         number of cores and kind of processor",
        path.display()
    )]
    OtherJob {
        /// The file of the share.
        path: PathBuf,
    },
    /// Shares are not those of the whole vocabulary, each once.
    #[error(transparent)]
    Shares(#[from] CoverError),
    /// The text does not determine the lens: a state is not finite, or does not vary at all.
    #[error("the states at {tap} do not determine a lens: {reason}")]
    Degenerate {
        /// The tap of the lens.
        tap: Tap,
        /// The reason why they do not determine a lens.
        reason: &'static str,
    },
}
