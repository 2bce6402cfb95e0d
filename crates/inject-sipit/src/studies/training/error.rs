//! Everything that can end a study of training.

use inject_collisions::{CollisionError, ExtractError, ModelError, studies::StudyError};

use crate::InvertError;

/// Why a study of training cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The model refused a prompt, a window or a tap.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// States could not be computed: the training diverged, or a prompt is wrong.
    #[error(transparent)]
    Extract(Box<ExtractError>),
    /// States could not be searched.
    #[error(transparent)]
    Collision(Box<CollisionError>),
    /// Margins could not be measured.
    #[error(transparent)]
    Study(Box<StudyError>),
    /// States could not be inverted.
    #[error(transparent)]
    Invert(Box<InvertError>),
    /// A learning rate that leads nowhere.
    #[error("a learning rate of {found}, expected a positive number")]
    LearningRate {
        /// The rate.
        found: f64,
    },
    /// A batch that the text does not fill.
    #[error("a batch of {found} windows, expected from 1 to all {windows}")]
    Batch {
        /// Windows of a batch.
        found: usize,
        /// Windows there are.
        windows: usize,
    },
    /// Training text or prompts too few for the question.
    #[error("{found} {what}, expected at least {expected}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is needed.
        expected: usize,
    },
    /// The loss is no number any more.
    #[error("the loss of step {step} is {found}, expected a finite number: the learning rate is too large")]
    Diverged {
        /// The step, from 0.
        step: usize,
        /// The loss.
        found: f32,
    },
}

// Boxed, because each of these is large and results are passed through many hands.

impl From<ModelError> for TrainingError {
    fn from(error: ModelError) -> Self {
        TrainingError::Model(Box::new(error))
    }
}

impl From<ExtractError> for TrainingError {
    fn from(error: ExtractError) -> Self {
        TrainingError::Extract(Box::new(error))
    }
}

impl From<CollisionError> for TrainingError {
    fn from(error: CollisionError) -> Self {
        TrainingError::Collision(Box::new(error))
    }
}

impl From<StudyError> for TrainingError {
    fn from(error: StudyError) -> Self {
        TrainingError::Study(Box::new(error))
    }
}

impl From<InvertError> for TrainingError {
    fn from(error: InvertError) -> Self {
        TrainingError::Invert(Box::new(error))
    }
}
