//! The cost of an inversion by stages, as it is reported.

use std::collections::BTreeMap;

use inject_sipit::Inversion;
use serde::{Deserialize, Serialize};

/// The cost of one stage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StageReport {
    /// Candidates whose states were compared with the given state.
    pub(crate) candidates: usize,
    /// States computed up to the tap.
    pub(crate) states: usize,
    /// Batches computed. A pass that several prompts share counts in parts.
    pub(crate) batches: f64,
    /// Seconds spent on choosing candidates; absent from a file of results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) choosing_seconds: Option<f64>,
    /// Seconds spent on computing and comparing their states; absent from a file of results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) testing_seconds: Option<f64>,
}

impl StageReport {
    /// Returns the counts without the times, which differ from run to run.
    pub(crate) fn without_seconds(self) -> Self {
        StageReport { choosing_seconds: None, testing_seconds: None, ..self }
    }
}

/// The cost of an inversion by stages.
pub(crate) fn stages(inversion: &Inversion) -> BTreeMap<String, StageReport> {
    let stages = inversion.cost.stages().iter().map(|(name, stage)| {
        let report = StageReport {
            candidates: stage.candidates,
            states: stage.states,
            batches: stage.batches,
            choosing_seconds: Some(stage.choosing_seconds),
            testing_seconds: Some(stage.testing_seconds),
        };
        ((*name).to_owned(), report)
    });
    stages.collect()
}
