//! Why a lens cannot be used or made.

use std::path::PathBuf;

use inject_collisions::models::Tap;

/// What is wrong with a lens, its file, or the text it was to be made from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LensError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no lens, or a damaged one.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A lens made for other weights: its ranking would be worthless.
    #[error("the lens was made for the weights {found}, expected those of the model, {expected}")]
    OtherWeights {
        /// Hash in the lens.
        found: String,
        /// Hash of the model.
        expected: String,
    },
    /// A lens made for another tap.
    #[error("the lens was made for {found}, expected {expected}")]
    OtherTap {
        /// Tap of the lens.
        found: Tap,
        /// Tap of the states.
        expected: Tap,
    },
    /// A lens for states or vocabularies of another size.
    #[error("the lens was made for {found} {what}, expected {expected}")]
    OtherShape {
        /// Of what.
        what: &'static str,
        /// In the lens.
        found: usize,
        /// In the model.
        expected: usize,
    },
    /// Too little text to fit a lens to.
    #[error("the text has {found} positions behind another one, expected at least {expected}")]
    TooLittleText {
        /// Positions given.
        found: usize,
        /// Fewest that give a lens.
        expected: usize,
    },
    /// No tap to make a lens for.
    #[error("no tap was asked for: expected at least one")]
    NoTaps,
    /// No prefix to compute the tokens' states behind.
    #[error("no prefix was given: expected at least one, of one token or more")]
    NoPrefix,
    /// The text does not determine the lens: a state is not finite, or does not vary at all.
    #[error("the states at {tap} do not determine a lens: {reason}")]
    Degenerate {
        /// The tap.
        tap: Tap,
        /// Why.
        reason: &'static str,
    },
}
