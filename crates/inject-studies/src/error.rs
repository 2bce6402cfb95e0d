//! The errors of the studies.

use std::{io, path::PathBuf};

use inject_sipit::{
    InvertError,
    collisions::CollisionError,
    models::{ModelError, Tap},
    states::{ExtractError, store::StoreError},
};

/// Why a study cannot be done.
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
    /// All rows are states of one prompt.
    #[error("all rows at {tap} belong to the same token ids: expected at least two different prompts")]
    NoPairs {
        /// The tap.
        tap: Tap,
    },
    /// Fewer different prompts than a study compares.
    #[error("{found} different prompts: expected at least {expected}")]
    TooFewPrompts {
        /// How many there are.
        found: usize,
        /// How many are needed.
        expected: usize,
    },
    /// Two prefixes with the same token ids: their extensions would collide by construction.
    #[error("prefixes {first} and {second} have the same token ids: expected each once")]
    RepeatedPrefix {
        /// The one, counted from 0.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A projection onto more dimensions than a state has, or none.
    #[error("a projection onto {found} dimensions: expected 1 to d_model {d_model}")]
    Dimensions {
        /// The dimensions asked for.
        found: usize,
        /// The width of a state.
        d_model: usize,
    },
    /// A disturbance that left a state which is no state.
    #[error(
        "{tap}, position {position}, coordinate {column}: the disturbed state is {found}, expected a finite number"
    )]
    View {
        /// The tap.
        tap: Tap,
        /// Position within the prompt.
        position: usize,
        /// The coordinate.
        column: usize,
        /// Its value.
        found: f64,
    },
    /// The noise floor of a tap was not given.
    #[error("no noise floor is known at {tap}: measure it first")]
    NoNoiseFloor {
        /// The tap.
        tap: Tap,
    },
    /// The part's number is not below the number of parts.
    #[error("part {part} of {parts}: expected a part below the number of parts, counted from 0")]
    NoSuchPart {
        /// The part asked for.
        part: usize,
        /// How many there are.
        parts: usize,
    },
    /// The learning rate is not positive.
    #[error("a learning rate of {found}, expected a positive number")]
    LearningRate {
        /// The rate.
        found: f64,
    },
    /// The training text does not fill a batch.
    #[error("a batch of {found} windows, expected from 1 to all {windows}")]
    Batch {
        /// Windows of a batch.
        found: usize,
        /// Windows of the text.
        windows: usize,
    },
    /// Too little training text, or too few prompts, for the question.
    #[error("{found} {what}, expected at least {expected}")]
    TooFew {
        /// The thing counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        expected: usize,
    },
    /// The loss became NaN or infinite.
    #[error("the loss of step {step} is {found}, expected a finite number: the learning rate is too large")]
    Diverged {
        /// The step, counted from 0.
        step: usize,
        /// The loss.
        found: f32,
    },
    /// The journal of a study cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Journal {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process writes the journal.
    #[error("{} is being written by another process", path.display())]
    JournalBusy {
        /// The file.
        path: PathBuf,
    },
    /// A line of the journal that no study wrote.
    #[error("{}, line {line}: {reason}", path.display())]
    JournalLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The journal belongs to a study of other things.
    #[error("{} belongs to another study: {found}; expected {expected}", path.display())]
    OtherStudy {
        /// The file.
        path: PathBuf,
        /// What that study is about, as JSON.
        found: String,
        /// What this one is about.
        expected: String,
    },
}

// Boxed, because each of these is large and results are passed through many hands.

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

impl From<InvertError> for StudyError {
    fn from(error: InvertError) -> Self {
        StudyError::Invert(Box::new(error))
    }
}
