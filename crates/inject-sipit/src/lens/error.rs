//! Errors of lenses.

use std::path::PathBuf;

use crate::{models::Tap, states::CoverError};

/// The fault of a lens, of its file, or of the text for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LensError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The lens file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file is not a lens, or is damaged.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The lens file.
        path: PathBuf,
        /// The content found, and the content expected.
        reason: String,
    },
    /// The lens was made for other weights, so its ranking would be worthless.
    #[error("the lens was made for the weights {found}, expected those of the model, {expected}")]
    OtherWeights {
        /// Hash in the lens.
        found: String,
        /// Hash of the model.
        expected: String,
    },
    /// The lens was made for another tap.
    #[error("the lens was made for {found}, expected {expected}")]
    OtherTap {
        /// Tap of the lens.
        found: Tap,
        /// Tap of the states.
        expected: Tap,
    },
    /// The lens was made for states or a vocabulary of another size.
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
    #[error("the text has {found} positions after a first one, expected at least {expected}")]
    TooLittleText {
        /// The number of positions with another before them.
        found: usize,
        /// Fewest that give a lens.
        expected: usize,
    },
    /// No tap was given.
    #[error("no tap was asked for: expected at least one")]
    NoTaps,
    /// No prefix was given, or an empty one.
    #[error("no prefix was given: expected at least one, of one token or more")]
    NoPrefix,
    /// A share of lenses was made for other weights, text, taps or prefixes, or was computed otherwise.
    #[error(
        "{} was made for other weights, text, taps or prefixes, or on another kind of machine",
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
        /// The fault of the states.
        reason: &'static str,
    },
}
