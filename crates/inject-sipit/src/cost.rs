//! What an inversion cost, stage by stage.

use std::collections::BTreeMap;

/// What one stage cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct StageCost {
    /// Candidates whose states were compared with the one given: the tests that the paper counts.
    pub candidates: usize,
    /// States computed up to the tap. More than the candidates where a draft went on behind a wrong token.
    pub states: usize,
    /// Batches computed. A pass shared by `n` prompts counts as `1/n` for each, so the sum over prompts is the number of passes.
    pub batches: f64,
    /// Seconds spent on choosing candidates.
    pub choosing_seconds: f64,
    /// Seconds spent on computing and comparing their states.
    pub testing_seconds: f64,
}

/// What an inversion cost. The stages are
///
/// - `draft`: the passes over drafted prompts,
/// - one for each source of proposals, by its name: choosing the candidates, and testing them,
/// - `scan`: the scan of the vocabulary, the certificate's too,
/// - `prefix`: the keys and values of settled tokens, where no draft had computed them,
/// - `noise`: candidates computed once more, in other shapes, to see how far two computations of them lie apart; and the whole
///   measurement of the noise again where a prompt's length changes how the model computes (LongRoPE).
///
/// What a source computes to choose by, such as the pass that a prior reads its logits from, is time spent on choosing and no state.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Cost {
    stages: BTreeMap<&'static str, StageCost>,
}

impl StageCost {
    /// Counts a batch of candidates, each of them one state.
    pub(crate) fn add_batch(&mut self, candidates: usize, seconds: f64) {
        self.candidates += candidates;
        self.add_states(candidates, 1.0, seconds);
    }

    /// Counts states that were computed, and in how many batches.
    pub(crate) fn add_states(&mut self, states: usize, batches: f64, seconds: f64) {
        self.states += states;
        self.batches += batches;
        self.testing_seconds += seconds;
    }
}

impl Cost {
    /// The stages by name.
    pub fn stages(&self) -> &BTreeMap<&'static str, StageCost> {
        &self.stages
    }

    /// Candidates tested in all.
    pub fn candidates(&self) -> usize {
        self.stages.values().map(|stage| stage.candidates).sum()
    }

    /// The states computed, in forward passes of a prompt of this length to the same tap: what the inversion would have
    /// cost if every state cost the same, proposals left out.
    pub fn forward_passes(&self, positions: usize) -> f64 {
        self.stages.values().map(|stage| stage.states).sum::<usize>() as f64 / positions.max(1) as f64
    }

    /// Seconds of all stages together. Prompts recovered together share the time of what was computed for all of them.
    pub fn seconds(&self) -> f64 {
        self.stages.values().map(|stage| stage.choosing_seconds + stage.testing_seconds).sum()
    }

    pub(crate) fn stage(&mut self, name: &'static str) -> &mut StageCost {
        self.stages.entry(name).or_default()
    }
}
