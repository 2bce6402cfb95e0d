//! The optimisers of training.

use std::fmt;

use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};

use crate::error::StudyError;

/// The rule of a training step: the direction, the size, and the text from which the gradient is computed.
///
/// The theorem covers the first two, with a learning rate in (0, 1). It does not cover Adam, whose step is not an analytic function of the
/// weights where the second moment of a gradient vanishes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Optimiser {
    /// Plain gradient descent on the whole text.
    FullBatch {
        /// The factor on the gradient.
        learning_rate: f64,
    },
    /// Plain gradient descent on some windows at a time, without momentum.
    Sgd {
        /// The factor on the gradient.
        learning_rate: f64,
        /// The number of windows of a batch.
        batch: usize,
    },
    /// Adam, with its usual moments 0.9 and 0.999 and an epsilon of 1e-8.
    Adam {
        /// The approximate length of a step in each coordinate.
        learning_rate: f64,
        /// The number of windows of a batch.
        batch: usize,
    },
}

impl Optimiser {
    /// Returns the factor on the gradient. For Adam, the approximate length of a step.
    pub fn learning_rate(self) -> f64 {
        match self {
            Optimiser::FullBatch { learning_rate }
            | Optimiser::Sgd { learning_rate, .. }
            | Optimiser::Adam { learning_rate, .. } => learning_rate,
        }
    }

    /// Returns the number of windows in a batch, given the number of all windows.
    pub fn batch(self, windows: usize) -> usize {
        match self {
            Optimiser::FullBatch { .. } => windows,
            Optimiser::Sgd { batch, .. } | Optimiser::Adam { batch, .. } => batch,
        }
    }

    pub(super) fn check(self, windows: usize) -> Result<(), StudyError> {
        let (rate, batch) = (self.learning_rate(), self.batch(windows));
        if !(rate.is_finite() && rate > 0.0) {
            return Err(StudyError::LearningRate { found: rate });
        }
        match (1..=windows).contains(&batch) {
            true => Ok(()),
            false => Err(StudyError::Batch { found: batch, windows }),
        }
    }

    pub(super) fn init(self) -> ModuleOptimizer {
        match self {
            Optimiser::FullBatch { .. } | Optimiser::Sgd { .. } => SgdConfig::new().init(),
            Optimiser::Adam { .. } => AdamConfig::new().with_epsilon(1e-8).init(),
        }
    }
}

impl fmt::Display for Optimiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Optimiser::FullBatch { .. } => f.write_str("gradient descent"),
            Optimiser::Sgd { .. } => f.write_str("SGD"),
            Optimiser::Adam { .. } => f.write_str("Adam"),
        }
    }
}
