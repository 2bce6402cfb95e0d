//! Errors of this crate.

use std::path::PathBuf;

use crate::{
    lens::LensError,
    models::{ModelError, Tap},
    states::{ExtractError, foreign::ForeignError},
};

/// The reason why states cannot be inverted at all. States that were inverted and do not fit are a
/// [`Verdict`](crate::Verdict) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvertError {
    /// The states have no position or no coordinate.
    #[error("there are no states to invert: expected at least one position")]
    NoStates,
    /// A state is NaN or infinite.
    #[error("position {position}, coordinate {coordinate} of the states is {found}, expected finite values")]
    NotFinite {
        /// Position of the state within the prompt, from 0.
        position: usize,
        /// Coordinate within the state, from 0.
        coordinate: usize,
        /// The value of the coordinate: NaN or an infinity.
        found: f64,
    },
    /// A state is larger than anything computed in f32.
    #[error(
        "position {position}, coordinate {coordinate} of the states is {found:e}, expected at most {:e}, the largest of f32",
        f32::MAX
    )]
    OutOfRange {
        /// Position of the state within the prompt, from 0.
        position: usize,
        /// Coordinate within the state, from 0.
        coordinate: usize,
        /// The value of the coordinate.
        found: f64,
    },
    /// The states have another width than the model's.
    #[error("the states have {found} coordinates, expected the model's d_model {expected}")]
    Width {
        /// The number of coordinates of each given state.
        found: usize,
        /// The `d_model` of the model.
        expected: usize,
    },
    /// The states were read at another tap than the inverter was made for.
    #[error("the states were read at {found}, expected {expected}")]
    Tap {
        /// The tap at which the states were read.
        found: Tap,
        /// The tap that the inverter was made for.
        expected: Tap,
    },
    /// A token fits the first state at another tap, and none at the given tap.
    #[error(
        "these look like states of {likely}, not {given}: a token fits the first of them at {likely}, and none of those tested at {given}"
    )]
    OtherTap {
        /// The tap that the caller gave.
        given: Tap,
        /// The tap at which a token fits.
        likely: Tap,
    },
    /// A file of states holds other taps.
    #[error("{} holds the taps {}, expected {expected} among them", path.display(), names(found))]
    TapNotInFile {
        /// Path of the file of states.
        path: PathBuf,
        /// The taps that the file names.
        found: Vec<Tap>,
        /// The tap that the caller asked for.
        expected: Tap,
    },
    /// A file of states does not determine the tap of the states.
    #[error("{} holds {columns} taps and names {named} of them: give the tap", path.display())]
    UnknownTap {
        /// Path of the file of states.
        path: PathBuf,
        /// The number of taps whose states the file holds.
        columns: usize,
        /// Taps that the file names.
        named: usize,
    },
    /// The number of half steps of rounding differs from the number of positions.
    #[error("the number of half steps of rounding is {found}, expected {expected}: one for each position")]
    HalfSteps {
        /// The number of half steps that the caller gave.
        found: usize,
        /// The number of positions, each of which needs one.
        expected: usize,
    },
    /// A factor of all states that is not positive and finite.
    #[error("the states were multiplied by {found}, expected a positive and finite number")]
    Scale {
        /// The factor that the caller gave.
        found: f64,
    },
    /// A position without a state that is named twice, or that the prompt does not have.
    #[error(
        "position {found} has no state: expected each such position once, among the {positions} of the prompt"
    )]
    Missing {
        /// A position that is named twice or lies beyond the prompt.
        found: usize,
        /// The number of positions of the prompt, with those that have no state.
        positions: usize,
    },
    /// As many tokens are given as there are states, or more.
    #[error("expected fewer given tokens than states, found {found} for {positions}")]
    MoreGiven {
        /// The number of tokens given.
        found: usize,
        /// The number of states, one for each position.
        positions: usize,
    },
    /// A bound on distances that is negative or not finite.
    #[error("the tolerance is {found}, expected a finite number that is not negative")]
    Tolerance {
        /// The bound that the caller gave.
        found: f64,
    },
    /// A whole scan with a candidate budget smaller than the vocabulary.
    #[error(
        "the budget of candidates at each position is {found}, and a scan tests the whole vocabulary of {vocab_size}: expected one or the other"
    )]
    NoWholeScan {
        /// The largest number of candidates at a position, as the caller set it.
        found: usize,
        /// The number of tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A beam of no hypotheses.
    #[error("the beam is 0 hypotheses wide, expected at least 1")]
    NoBeam,
    /// A budget of no candidates.
    #[error("at most 0 candidates at each position, expected at least 1")]
    NoCandidates,
    /// A memory budget without room for one position.
    #[error(
        "the memory budget is {found} bytes, expected at least {expected} for one position of this prompt"
    )]
    MemoryBudget {
        /// The budget that the caller gave, in bytes.
        found: usize,
        /// The bytes of one position.
        expected: usize,
    },
    /// A searcher of another model or tap.
    #[error("the searcher was begun for another model or tap, expected one of this inverter")]
    OtherSearcher,
    /// The lens does not fit the model and the states, or cannot be made.
    #[error(transparent)]
    Lens(#[from] LensError),
    /// A file of states cannot be read.
    #[error(transparent)]
    File(Box<ForeignError>),
    /// The states of text cannot be computed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The model cannot compute the states to compare with.
    #[error(transparent)]
    Model(#[from] ModelError),
}

fn names(taps: &[Tap]) -> String {
    taps.iter().map(Tap::to_string).collect::<Vec<_>>().join(", ")
}

// Boxed, because it is larger than the others.
impl From<ForeignError> for InvertError {
    fn from(error: ForeignError) -> Self {
        InvertError::File(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::*;
    use crate::{models::checkpoint::HeaderError, states::foreign::StatesFile, tensor_file::TensorFileError};

    fn lens_errors() -> Vec<LensError> {
        let path = || PathBuf::from("lens-block-1.safetensors");
        let hash = |letter: &str| letter.repeat(8);
        vec![
            TensorFileError::Io { path: path(), source: io::Error::other("the disk is gone") }.into(),
            TensorFileError::Malformed { path: path(), reason: "about is missing".to_owned() }.into(),
            TensorFileError::Header { path: path(), source: HeaderError::TooShort { found: 3 } }.into(),
            LensError::OtherWeights { found: hash("a"), expected: hash("b") },
            LensError::OtherTap { found: Tap::Block(1), expected: Tap::Block(2) },
            LensError::OtherShape { what: "tokens", found: 1, expected: 2 },
            LensError::TooLittleText { found: 1, expected: 2 },
            LensError::NoTaps,
            LensError::NoPrefix,
            LensError::Degenerate { tap: Tap::Block(1), reason: "it does not vary" },
        ]
    }

    fn errors() -> Vec<InvertError> {
        let path = || PathBuf::from("states.npy");
        let mut errors: Vec<InvertError> = vec![
            InvertError::NoStates,
            InvertError::NotFinite { position: 0, coordinate: 1, found: f64::NAN },
            InvertError::OutOfRange { position: 0, coordinate: 1, found: 1e300 },
            InvertError::Width { found: 1, expected: 2 },
            InvertError::Tap { found: Tap::Block(1), expected: Tap::Block(2) },
            InvertError::OtherTap { given: Tap::Block(1), likely: Tap::Block(2) },
            InvertError::TapNotInFile { path: path(), found: vec![Tap::Block(1)], expected: Tap::Block(2) },
            InvertError::UnknownTap { path: path(), columns: 2, named: 0 },
            InvertError::HalfSteps { found: 1, expected: 2 },
            InvertError::MoreGiven { found: 3, positions: 3 },
            InvertError::Scale { found: 0.0 },
            InvertError::Missing { found: 9, positions: 4 },
            InvertError::Tolerance { found: -1.0 },
            InvertError::NoWholeScan { found: 1, vocab_size: 2 },
            InvertError::NoBeam,
            InvertError::NoCandidates,
            InvertError::MemoryBudget { found: 1, expected: 2 },
            InvertError::OtherSearcher,
            StatesFile::open("no such folder/states.npy").map(drop).unwrap_err().into(),
            ModelError::Device { reason: "it is gone".to_owned() }.into(),
        ];
        errors.extend(lens_errors().into_iter().map(InvertError::from));
        errors
    }

    #[test]
    fn a_cause_is_in_the_source_and_not_in_the_text() {
        for error in errors() {
            let texts: Vec<String> =
                std::iter::successors(Some(&error as &dyn Error), |error| (*error).source())
                    .map(ToString::to_string)
                    .collect();
            for (at, text) in texts.iter().enumerate() {
                assert!(!text.is_empty() && !text.ends_with('.'), "{texts:?}");
                assert!(texts[at + 1..].iter().all(|cause| !text.contains(cause.as_str())), "{texts:?}");
            }
        }
    }
}
