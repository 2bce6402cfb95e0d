//! The inversions of one policy before they are compared with anything, as the journal keeps them.

use std::collections::BTreeMap;

use inject_sipit::Inversion;
use serde::{Deserialize, Serialize};

use crate::invert::{StageReport, VerdictName, stages};

/// All inversions of one policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The sources of candidates, in order.
    pub(crate) policy: String,
    /// The reason for these sources and this order.
    pub(crate) reason: String,
    /// Seconds to measure the noise and to load the lens, once.
    pub(crate) ready_seconds: f64,
    /// In the order of the prompts.
    pub(crate) inversions: Vec<Found>,
}

/// The result of one inversion, as the journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) seconds: f64,
    pub(crate) token_ids: Vec<Option<u32>>,
    pub(crate) verdicts: Vec<VerdictName>,
    pub(crate) candidates_tested: Vec<usize>,
    pub(crate) cost: BTreeMap<String, StageReport>,
}

impl Found {
    pub(crate) fn new(inversion: &Inversion, seconds: f64) -> Self {
        let positions = &inversion.positions;
        Found {
            seconds,
            token_ids: inversion.kept_ids(),
            verdicts: positions.iter().map(|position| VerdictName::from(&position.verdict)).collect(),
            candidates_tested: positions.iter().map(|position| position.candidates_tested).collect(),
            cost: stages(inversion),
        }
    }
}
