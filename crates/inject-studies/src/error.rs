//! The errors of the studies.

use std::path::PathBuf;

use inject_sipit::{
    InvertError,
    collisions::CollisionError,
    models::{ModelError, Tap},
    states::{
        ExtractError,
        durable::{FileError, JsonLinesError},
        store::StoreError,
    },
};

use crate::name::StudyName;

/// The reason why a study failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The states of a tap cannot be searched.
    #[error(transparent)]
    Collision(Box<CollisionError>),
    /// States could not be computed.
    #[error(transparent)]
    Extract(Box<ExtractError>),
    /// The model refused a prompt or a tap.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// A store could not be read or written.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// States could not be inverted.
    #[error(transparent)]
    Invert(Box<InvertError>),
    /// All states belong to the same prompt, so there are no pairs.
    #[error("the states at {tap} belong to 1 prompt, expected at least 2 different prompts")]
    NoPairs {
        /// The tap whose states all belong to one prompt.
        tap: Tap,
    },
    /// There are too few different prompts for the study.
    #[error("expected at least {expected} different prompts, found {found}")]
    TooFewPrompts {
        /// The number of different prompts given.
        found: usize,
        /// The least number that the study needs.
        expected: usize,
    },
    /// Two prefixes have the same token ids, so their extensions would collide by construction.
    #[error("prefixes {first} and {second} have the same token ids, expected different ones")]
    RepeatedPrefix {
        /// The first prefix, counted from 0.
        first: usize,
        /// The second prefix, counted from 0.
        second: usize,
    },
    /// The number of dimensions of a projection is zero or exceeds that of a state.
    #[error("a projection onto {found} dimensions, expected from 1 to d_model {d_model}")]
    Dimensions {
        /// The number of dimensions requested.
        found: usize,
        /// The width of a state.
        d_model: usize,
    },
    /// A coordinate of a disturbed state is not finite.
    #[error(
        "{tap}, position {position}, coordinate {column}: the disturbed state is {found}, expected a finite number"
    )]
    View {
        /// The tap of the disturbed state.
        tap: Tap,
        /// The position within the prompt, counted from 0.
        position: usize,
        /// The coordinate, counted from 0.
        column: usize,
        /// The value of the coordinate.
        found: f64,
    },
    /// The noise floor of a tap was not given.
    #[error("the noise floor at {tap} is missing: measure it first")]
    NoNoiseFloor {
        /// The tap without a noise floor.
        tap: Tap,
    },
    /// The learning rate is not positive.
    #[error("a learning rate of {found}, expected a positive number")]
    LearningRate {
        /// The learning rate that was given.
        found: f64,
    },
    /// The number of windows of a batch is zero or exceeds that of the text.
    #[error("a batch of {found} windows, expected from 1 to all {windows}")]
    Batch {
        /// The number of windows of a batch.
        found: usize,
        /// The number of windows of the text.
        windows: usize,
    },
    /// There are too few items of some kind.
    #[error("{found} {what}, expected at least {expected}")]
    TooFew {
        /// The plural noun for the counted items.
        what: &'static str,
        /// The number of items given.
        found: usize,
        /// The least number that the study needs.
        expected: usize,
    },
    /// The loss became NaN or infinite.
    #[error("the loss of step {step} is {found}, expected a finite number: the learning rate is too large")]
    Diverged {
        /// The index of the step, counted from 0.
        step: usize,
        /// The loss, in nats per token.
        found: f32,
    },
    /// The journal belongs to another study, is damaged, is in use, or cannot be read or written.
    #[error(transparent)]
    Journal(Box<JsonLinesError>),
    /// The journal has no complete line.
    #[error("{} is not a journal: it has no whole line", path.display())]
    JournalEmpty {
        /// The path of the journal.
        path: PathBuf,
    },
    /// The name of a study is unknown.
    #[error("unknown study `{found}`, expected one of {}", known_studies())]
    UnknownStudy {
        /// The name that was given.
        found: String,
    },
}

fn known_studies() -> String {
    StudyName::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

// These errors are boxed because they are large.

impl From<CollisionError> for StudyError {
    fn from(error: CollisionError) -> Self {
        StudyError::Collision(Box::new(error))
    }
}

impl From<ExtractError> for StudyError {
    fn from(error: ExtractError) -> Self {
        StudyError::Extract(Box::new(error))
    }
}

impl From<ModelError> for StudyError {
    fn from(error: ModelError) -> Self {
        StudyError::Model(Box::new(error))
    }
}

impl From<StoreError> for StudyError {
    fn from(error: StoreError) -> Self {
        StudyError::Store(Box::new(error))
    }
}

impl From<JsonLinesError> for StudyError {
    fn from(error: JsonLinesError) -> Self {
        StudyError::Journal(Box::new(error))
    }
}

impl From<FileError> for StudyError {
    fn from(error: FileError) -> Self {
        JsonLinesError::from(error).into()
    }
}

impl From<InvertError> for StudyError {
    fn from(error: InvertError) -> Self {
        StudyError::Invert(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::*;

    /// Returns one error of each kind that has a source.
    fn with_sources() -> Vec<StudyError> {
        let json = || serde_json::from_str::<u32>("no JSON").unwrap_err();
        let disk = || io::Error::other("the disk is full");
        let path = || PathBuf::from("journal.jsonl");
        let store = || StoreError::Io { action: "read", path: path(), source: disk() };
        vec![
            FileError::of("write", &path())(disk()).into(),
            JsonLinesError::Syntax { path: path(), line: 2, source: json() }.into(),
            store().into(),
            CollisionError::from(store()).into(),
        ]
    }

    #[test]
    fn the_cause_is_in_the_source_and_not_in_the_text() {
        for error in with_sources() {
            let source = error.source().expect("an error with a source").to_string();
            assert!(!error.to_string().contains(&source), "{error} repeats {source}");
        }
    }
}
