//! States of candidates, compared with those of one prompt.

use crate::{
    chance::{Nearness, Others},
    cost::Cost,
    error::InvertError,
    lens::candidates_of_a_pass,
    models::{Logits, PrefixCache, Progress, TokenBatch, Unit},
    noise::NoiseModel,
    target::TargetStates,
    tensors::read,
    transformation::Transformation,
    tuning::{BATCH_OF_A_PASS, NOISE_SEQUENCE, PAIRS_TOGETHER},
    yardstick::Yardstick,
};
use burn::tensor::Tensor;

use super::{Inverter, calibrate::ProducerNoise, watch::Watch};

/// The states of one prompt, the rule for comparing candidates with them, and the cost so far.
pub(super) struct Comparison<'r> {
    pub(super) inverter: &'r Inverter<'r>,
    pub(super) target: &'r TargetStates,
    noise: NoiseModel,
    /// The noise of the producer, once it is estimated.
    pub(super) producer: Option<ProducerNoise>,
    pub(super) cost: Cost,
    pub(super) watch: Watch,
    /// Receives the reports of the whole recovery. A signal is heeded there.
    pub(super) progress: &'r dyn Fn(Progress<'_>),
}

/// The part of an inversion that a report is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Recover,
    Certify,
}

impl Phase {
    fn task(self) -> &'static str {
        match self {
            Phase::Recover => "recover",
            Phase::Certify => "certify",
        }
    }

    /// Whether a report counts the positions of a prompt, and is not one of what takes long beside them.
    pub(super) fn is_of(report: &Progress<'_>) -> bool {
        [Phase::Recover, Phase::Certify].iter().any(|phase| phase.task() == report.task)
    }
}

impl<'r> Comparison<'r> {
    /// Begins a prompt. Its noise is measured here if the model computes prompts of this length differently.
    pub(super) fn begin(
        inverter: &'r Inverter<'r>,
        target: &'r TargetStates,
        progress: &'r dyn Fn(Progress<'_>),
    ) -> Result<Self, InvertError> {
        let watch = Watch::start(inverter.settings.budget.time);
        let (decoder, mut cost) = (inverter.decoder, Cost::default());
        let measured = NOISE_SEQUENCE.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let len = target.sequence_len();
        let same = decoder.config().same_rotary(measured, len);
        // Without their means states are shorter, and their noise is a larger share of that. No other change makes it larger.
        let noise = if same && *target.transformation() != Transformation::Centred {
            inverter.noise
        } else {
            let (cost, len) = (cost.stage("noise"), if same { measured } else { len });
            let (tap, change) = (inverter.tap, target.transformation());
            NoiseModel::measure_counting(decoder, tap, len, change, cost, &mut { progress })?
        };
        Ok(Comparison { inverter, target, noise, producer: None, cost, watch, progress })
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.inverter.decoder.config().vocab_size
    }

    /// The yardstick of one position. `seen` is the distance between two computations of the nearest candidate, if there were two.
    pub(super) fn yardstick(&self, position: usize, seen: Option<f64>) -> Yardstick {
        if let Some(producer) = &self.producer {
            let (calibration, state) = (&producer.calibration, self.target.state(position));
            let knows_sink = !self.target.missing().contains(&0);
            if knows_sink && calibration.is_partial_sink(position, state) {
                return Yardstick::across_sink(self.target, position);
            }
            let ordinary = calibration.is_ordinary(position, state);
            let shift = if ordinary { producer.shift() } else { 0.0 };
            return Yardstick::of_producer(calibration.of(position, state), shift, self.target, position);
        }
        Yardstick::new(self.inverter.settings.acceptance, &self.noise, self.target, position, seen)
    }

    /// Reads the states of candidates, changed as the given states were.
    pub(super) fn states<const D: usize>(&self, computed: Tensor<D>) -> Result<Vec<f64>, InvertError> {
        let mut states = read(computed)?;
        self.target.transformation().apply(&mut states, self.target.d_model());
        Ok(states)
    }

    /// Computes the states of candidates for the position after a prefix, or those of the token after each of them.
    pub(super) fn candidates(&self, cache: &PrefixCache, ids: &[u32]) -> Result<Vec<f64>, InvertError> {
        let Inverter { decoder, tap, next, .. } = self.inverter;
        let Some(next) = *next else { return self.states(decoder.candidates(cache, ids, *tap)?) };
        let mut states = Vec::with_capacity(ids.len() * self.target.d_model());
        for ids in ids.chunks(PAIRS_TOGETHER) {
            let pairs: Vec<[u32; 2]> = ids.iter().map(|&id| [id, next]).collect();
            let mut side_by_side = cache.repeated(ids.len(), 2);
            let pairs = TokenBatch::new(&pairs)?;
            let forward = decoder.extend(&mut side_by_side, &pairs, &[*tap], Logits::None)?;
            states.extend(self.states(forward.states[tap].clone().narrow(1, 1, 1))?);
        }
        Ok(states)
    }

    /// Whether the given states are compared with those of candidates as the model computes them.
    pub(super) fn compares_as_computed(&self) -> bool {
        self.inverter.next.is_none() && !self.target.transformation().changes_candidates()
    }

    /// The states that might fit by chance.
    pub(super) fn others(&self) -> Others {
        let nearness = match (self.inverter.next, self.target.transformation()) {
            (Some(_), _) => Nearness::OfNext,
            (None, Transformation::Permuted { coordinates }) if coordinates.unresolved() > 0 => {
                Nearness::Sorted
            }
            (None, _) => Nearness::Usual,
        };
        Others { vocab_size: self.vocab_size(), places: self.target.places(), nearness }
    }

    /// Whether the time is up, or `tested` candidates at one position are too many.
    pub(super) fn out_of_budget(&self, tested: usize) -> bool {
        let most = self.inverter.settings.budget.candidates;
        self.watch.is_up() || most.is_some_and(|most| tested >= most)
    }

    /// The number of rows of a pass over sequences of this length that fit into the memory budget.
    pub(super) fn rows_in_memory(&self, len: usize) -> usize {
        self.inverter.settings.memory_budget / self.inverter.decoder.bytes_per_token(len, 1)
    }

    /// The size of a batch of candidates after `prefix_len` tokens.
    pub(super) fn batch(&self, prefix_len: usize) -> usize {
        let Inverter { decoder, tap, comparing, .. } = self.inverter;
        let of_passes = (BATCH_OF_A_PASS * candidates_of_a_pass(decoder, *tap)) as usize;
        self.rows_in_memory(prefix_len + 1).min(comparing.largest_batch().max(of_passes))
    }

    /// Reports a position of this prompt.
    pub(super) fn report(&self, phase: Phase, position: usize, tested: usize) {
        let (done, total) = (position as u64, self.target.positions() as u64);
        let part = tested as f64 / self.vocab_size() as f64;
        (self.progress)(Progress::new(phase.task(), Unit::Positions, done, total).with_part(part));
    }
}
