//! Why states cannot be inverted at all. (That they were inverted and do not fit is a verdict, not an error.)

use inject_collisions::{ExtractError, ModelError, Tap};

/// What is wrong with the states or the question.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvertError {
    /// No position, or no coordinate.
    #[error("there are no states to invert: expected at least one position")]
    NoStates,
    /// A state is NaN or infinite.
    #[error("position {position}, coordinate {coordinate} of the states is {found}, expected finite values")]
    NotFinite {
        /// Position within the prompt.
        position: usize,
        /// Coordinate of the state.
        coordinate: usize,
        /// Its value.
        found: f64,
    },
    /// A state is larger than anything that is computed in f32.
    #[error(
        "position {position}, coordinate {coordinate} of the states is {found:e}, expected at most {:e}, the largest of f32",
        f32::MAX
    )]
    OutOfRange {
        /// Position within the prompt.
        position: usize,
        /// Coordinate of the state.
        coordinate: usize,
        /// Its value.
        found: f64,
    },
    /// The states have another width than the model's.
    #[error("the states have {found} coordinates, expected the model's d_model {expected}")]
    Width {
        /// Width of the states.
        found: usize,
        /// The model's `d_model`.
        expected: usize,
    },
    /// The states were read at another tap than the inverter was made for.
    #[error("the states were read at {found}, expected {expected}")]
    Tap {
        /// Tap of the states.
        found: Tap,
        /// Tap of the inverter.
        expected: Tap,
    },
    /// Not one half step of rounding for each position.
    #[error("{found} half steps of rounding for {expected} positions: expected one for each")]
    HalfSteps {
        /// How many were given.
        found: usize,
        /// How many positions there are.
        expected: usize,
    },
    /// A bound on a distance that no distance can satisfy.
    #[error("the tolerance is {found}, expected a finite number that is not negative")]
    Tolerance {
        /// The bound.
        found: f64,
    },
    /// `Scan::Whole` was combined with a candidate budget smaller than the vocabulary.
    #[error(
        "at most {found} candidates at each position, and a scan of the whole vocabulary of {vocab_size}: expected one or the other"
    )]
    NoWholeScan {
        /// The bound on candidates.
        found: usize,
        /// Tokens there are.
        vocab_size: usize,
    },
    /// The lens was made for something else, or cannot be made.
    #[error(transparent)]
    Lens(#[from] crate::LensError),
    /// States of text could not be computed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The model cannot compute what would be compared.
    #[error(transparent)]
    Model(#[from] ModelError),
}
