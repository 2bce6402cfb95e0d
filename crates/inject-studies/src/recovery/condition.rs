//! The conditions under which states are inverted.

use std::fmt;

use inject_sipit::{models::NumberFormat, states::Disturbance};

/// A change of the states, or of the weights that computed them, before they are inverted.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Condition {
    /// The states are given as computed, without a disturbance.
    Exact,
    /// Quantised weights, which the inversion knows: producer and inverter use the same ones.
    KnownWeights {
        /// The format of the weights.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NumberFormat"))]
        weights: NumberFormat,
    },
    /// Quantised weights, which the inversion does not know: the inverter uses the original ones.
    UnknownWeights {
        /// The format of the weights of the producer.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NumberFormat"))]
        weights: NumberFormat,
    },
    /// Rounded, clipped or otherwise disturbed states.
    States {
        /// The disturbance of the states.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Disturbance"))]
        disturbance: Disturbance,
    },
    /// Random noise, relative to the margin of the prompt.
    Noise {
        /// The L2 norm of the noise, as a share of the least margin of the prompt.
        share_of_margin: f64,
    },
}

impl Condition {
    /// Returns the format of the weights of the inverter's model, if they are quantised.
    pub(super) fn known_weights(self) -> Option<NumberFormat> {
        match self {
            Condition::KnownWeights { weights } => Some(weights),
            _ => None,
        }
    }

    /// Returns the format of the weights that produced the states, if they are quantised.
    pub(super) fn producing_weights(self) -> Option<NumberFormat> {
        match self {
            Condition::KnownWeights { weights } | Condition::UnknownWeights { weights } => Some(weights),
            Condition::Exact | Condition::States { .. } | Condition::Noise { .. } => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Condition::Exact => "exact".to_owned(),
            Condition::KnownWeights { weights } => format!("weights {weights}, known"),
            Condition::UnknownWeights { weights } => format!("weights {weights}, unknown"),
            Condition::States { disturbance } => format!("states {disturbance}"),
            Condition::Noise { share_of_margin } => format!("noise of {share_of_margin} margins"),
        };
        f.pad(&text)
    }
}
