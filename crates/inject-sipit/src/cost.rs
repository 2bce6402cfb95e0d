//! The cost of an inversion by stages.

use std::collections::BTreeMap;

/// The cost of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StageCost {
    /// Candidates whose states were compared with the given state: the tests that the paper counts.
    pub candidates: usize,
    /// States computed up to the tap. They exceed the candidates if a draft went on after a wrong token.
    pub states: usize,
    /// Batches computed. A pass shared by `n` prompts counts as `1/n` for each, so the sum over prompts is the number of passes.
    pub batches: f64,
    /// Seconds spent on choosing candidates.
    pub choosing_seconds: f64,
    /// Seconds spent on computing and comparing their states.
    pub testing_seconds: f64,
}

/// The cost of an inversion. The stages are
///
/// - `draft`: passes over drafted prompts,
/// - one for each source of candidates, by its name: choosing the candidates and testing them,
/// - `neighbours`: the tokens with embeddings near that of one that fits,
/// - `hypotheses`: the tokens that are nearest after the best hypothesis, tested after the others where wrong tokens fit too,
/// - `scan`: the scan of the vocabulary, also for a certificate,
/// - `prefix`: the keys and values of settled tokens that no draft had computed,
/// - `noise`: candidates computed again in other shapes, to measure the distance between two computations of them; and the whole
///   measurement of noise for a prompt whose length changes the model's computation (LongRoPE),
/// - `calibration`: the noise of a producer, which an inverter measures once, at the first prompt that needs it, and the search for
///   the producer's weights where the weights given fail,
/// - `factor` and `tap`: the search for a factor of all states, and for another tap, where nothing fits the first state.
///
/// A source's own computation, such as the pass that gives a prior its logits, counts as time for choosing and not as states.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The name of the stage that an inverter computes once for all its prompts. It is in the cost of the first prompt that needs it.
    pub const CALIBRATION: &'static str = "calibration";

    /// Returns the stages by name.
    pub fn stages(&self) -> &BTreeMap<&'static str, StageCost> {
        &self.stages
    }

    /// Returns the number of candidates tested in all stages.
    pub fn candidates(&self) -> usize {
        self.stages.values().map(|stage| stage.candidates).sum()
    }

    /// Returns the states computed, in forward passes of a prompt of `positions` tokens to the same tap. That is the cost
    /// if every state costs the same, and the choice of candidates nothing. It is infinite or NaN for no positions.
    pub fn forward_passes(&self, positions: usize) -> f64 {
        self.stages.values().map(|stage| stage.states).sum::<usize>() as f64 / positions as f64
    }

    /// Seconds of all stages together. Prompts recovered together share the time of common passes.
    pub fn seconds(&self) -> f64 {
        self.stages.values().map(|stage| stage.choosing_seconds + stage.testing_seconds).sum()
    }

    /// Adds the cost of another part of the work.
    pub(crate) fn add(&mut self, other: &Cost) {
        for (&name, stage) in &other.stages {
            let own = self.stage(name);
            own.candidates += stage.candidates;
            own.choosing_seconds += stage.choosing_seconds;
            own.add_states(stage.states, stage.batches, stage.testing_seconds);
        }
    }

    /// Adds the work of finding out how the states were produced. Only the first prompt pays for it.
    pub(crate) fn add_as_calibration(&mut self, other: &Cost) {
        for stage in other.stages.values() {
            let seconds = stage.choosing_seconds + stage.testing_seconds;
            self.stage(Cost::CALIBRATION).add_states(stage.states, stage.batches, seconds);
        }
    }

    /// Returns the cost of a stage, which begins at zero.
    pub(crate) fn stage(&mut self, name: &'static str) -> &mut StageCost {
        self.stages.entry(name).or_default()
    }
}
