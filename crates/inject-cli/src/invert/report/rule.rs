//! The rule by which a candidate counts as the token, as it is reported.

use inject_sipit::Acceptance;
use serde::{Deserialize, Serialize};

use crate::outcome::Failure;

/// The rule by which a candidate counts as the token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub(crate) enum AcceptanceRule {
    /// Within the noise floor of computing the state.
    NoiseFloor {
        /// An upper bound on the norm of noise added to every state.
        added: f64,
    },
    /// Within a fixed L2 distance.
    Ball {
        /// The L2 distance within which a candidate fits.
        epsilon: f64,
    },
    /// Each coordinate within `atol + rtol * |x|`.
    Allclose {
        /// The tolerance as a share of each coordinate.
        rtol: f64,
        /// The tolerance that is the same for each coordinate.
        atol: f64,
    },
}

impl AcceptanceRule {
    /// The rule as it is reported.
    ///
    /// # Errors
    ///
    /// [`Failure`] for a rule that this program does not know.
    pub(crate) fn of(acceptance: Acceptance) -> Result<Self, Failure> {
        match acceptance {
            Acceptance::NoiseFloor { added } => Ok(AcceptanceRule::NoiseFloor { added }),
            Acceptance::Ball { epsilon } => Ok(AcceptanceRule::Ball { epsilon }),
            Acceptance::AllClose { rtol, atol } => Ok(AcceptanceRule::Allclose { rtol, atol }),
            other => Err(Failure::new(format!("no report for the rule {other:?}"))),
        }
    }
}
