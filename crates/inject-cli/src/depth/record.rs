//! One inversion, measured.

use std::collections::BTreeMap;

use inject_sipit::{Inversion, models::Tap};
use serde::{Deserialize, Serialize};

use crate::{
    invert::{StageReport, stages},
    table::{Cell, Table, rows},
};

/// The origin of a prompt's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Prose or code, as a file or the generator gives it.
    Text,
    /// Tokens drawn uniformly from the vocabulary.
    Random,
}

impl Kind {
    /// In the order of the tables.
    pub(crate) const ALL: [Kind; 2] = [Kind::Text, Kind::Random];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Random => "random",
        }
    }
}

/// The inversion of one prompt at one tap in one format.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The tokens of the prompt.
    pub(crate) kind: Kind,
    /// The tap of the states.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) tap: Tap,
    /// The length of the prompt.
    pub(crate) tokens: usize,
    /// Whether every position is verified or certain.
    pub(crate) verified: bool,
    /// Whether the tokens equal those of the prompt.
    pub(crate) equals_prompt: bool,
    /// The number of tokens that are the prompt's, verified or not.
    pub(crate) right: usize,
    /// The L2 norm of the noise added to every state.
    pub(crate) noise: f64,
    /// Seconds that the inversion took.
    pub(crate) seconds: f64,
    /// Seconds of one forward pass of the prompt to the tap.
    pub(crate) forward_seconds: f64,
    /// The time of the inversion divided by that of the forward pass.
    pub(crate) forward_pass_equivalents: f64,
    /// Candidates whose states were compared with the given states.
    pub(crate) candidates: usize,
    /// The number of positions that the drafts did not settle.
    pub(crate) repaired: usize,
    /// The least ratio of a runner-up's distance to the noise floor; null if no runner-up was tested.
    pub(crate) least_margin_over_floor: Option<f64>,
    /// Seconds to load the lens and measure the noise, once for all prompts at this tap.
    pub(crate) ready_seconds: f64,
    /// The cost of each stage.
    pub(crate) cost: BTreeMap<String, StageReport>,
}

/// The times of one inversion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds {
    pub(crate) inversion: f64,
    pub(crate) forward: f64,
    pub(crate) ready: f64,
}

impl Record {
    pub(crate) fn new(
        kind: Kind,
        tap: Tap,
        prompt: &[u32],
        inversion: &Inversion,
        seconds: Seconds,
        noise: f64,
    ) -> Self {
        let ratios =
            inversion.positions.iter().filter_map(|p| Some(p.runner_up()?.distance / p.noise_floor()?));
        let found = inversion.kept_ids();
        let right = found.iter().zip(prompt).filter(|(found, id)| **found == Some(**id)).count();
        Record {
            kind,
            tap,
            tokens: prompt.len(),
            verified: inversion.is_verified(),
            equals_prompt: right == prompt.len() && found.len() == prompt.len(),
            right,
            noise,
            seconds: seconds.inversion,
            forward_seconds: seconds.forward,
            forward_pass_equivalents: seconds.inversion / seconds.forward,
            candidates: inversion.candidates_tested(),
            repaired: inversion.positions.iter().filter(|p| p.found_by() != Some("draft")).count(),
            least_margin_over_floor: ratios.min_by(f64::total_cmp),
            ready_seconds: seconds.ready,
            cost: stages(inversion),
        }
    }

    /// Whether the prompt is recovered: verified, and equal to the one that was forgotten.
    pub(crate) fn recovered(&self) -> bool {
        self.verified && self.equals_prompt
    }
}

/// Returns a table with a row for each inversion.
pub(crate) fn table(records: &[Record]) -> Table {
    rows("Every inversion", records).columns([
        ("tap", &|r| Cell::of(r.tap)),
        ("tokens", &|r| r.tokens.into()),
        ("kind", &|r| Cell::of(r.kind.name())),
        ("verified", &|r| Cell::of(r.verified)),
        ("equals prompt", &|r| Cell::of(r.equals_prompt)),
        ("right", &|r| r.right.into()),
        ("noise", &|r| r.noise.into()),
        ("seconds", &|r| r.seconds.into()),
        ("forward seconds", &|r| r.forward_seconds.into()),
        ("forward pass equivalents", &|r| r.forward_pass_equivalents.into()),
        ("candidates", &|r| r.candidates.into()),
        ("repaired", &|r| r.repaired.into()),
        ("least margin over floor", &|r| r.least_margin_over_floor.into()),
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One inversion whose least margin is this many floors.
    pub(in crate::depth) fn record(margin: Option<f64>) -> Record {
        Record {
            kind: Kind::Text,
            tap: Tap::Block(15),
            tokens: 64,
            verified: true,
            equals_prompt: true,
            right: 64,
            noise: 0.0,
            seconds: 0.25,
            forward_seconds: 0.1,
            forward_pass_equivalents: 2.5,
            candidates: 65,
            repaired: 1,
            least_margin_over_floor: margin,
            ready_seconds: 0.5,
            cost: BTreeMap::new(),
        }
    }
}
