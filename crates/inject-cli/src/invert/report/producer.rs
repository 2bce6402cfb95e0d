//! The way in which the producer computed the states, as it is reported.

use inject_sipit::inversion::Producer;
use serde::{Deserialize, Serialize};

/// How the producer of the states computed them, where that made a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ProducerReport {
    /// What explained the states.
    explained_by: ExplainedBy,
    /// The number format: bf16, f16, int8, q8_0, int4, nf4, fp4, q4_0 or q4_1.
    format: String,
}

/// What explained the states of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum ExplainedBy {
    /// The noise of computing in the format, or of weights that differ as much as a rounding to it moves them.
    Noise,
    /// The weights of the model, rounded to the format in the usual way. Candidates were computed with them.
    RoundedWeights,
}

impl ProducerReport {
    pub(super) fn of(producer: Producer) -> Option<Self> {
        let (explained_by, format) = match producer {
            Producer::Noise(format) => (ExplainedBy::Noise, format),
            Producer::RoundedWeights(format) => (ExplainedBy::RoundedWeights, format),
            _ => return None,
        };
        Some(ProducerReport { explained_by, format: format.to_string() })
    }

    /// One line for a person.
    pub(in crate::invert) fn line(&self) -> String {
        let format = &self.format;
        match self.explained_by {
            ExplainedBy::RoundedWeights => format!(
                "note: the states are those of the weights rounded to {format}; candidates were computed with such weights"
            ),
            ExplainedBy::Noise => format!("noise of the producer: as of {format}"),
        }
    }
}
