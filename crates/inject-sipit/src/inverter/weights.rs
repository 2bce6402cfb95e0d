//! The weights of a producer that rounded them: found where nothing fits as the weights given compute it.
//!
//! Programs round weights to INT8, INT4, NF4 and FP4 in one way each ([`Decoder::with_weights_in`]). So a producer's weights may be known,
//! and its states then lie within the noise of computing in 16 bits, a tenth of what the rounding of weights to 4 bits adds. If
//! the weights were rounded in another way, they are as far from these as from the given ones, and that distance is noise.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    acceptance::Acceptance,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Producer},
    models::{Decoder, NumberFormat, Progress, Tap, silent},
    noise::NoiseModel,
    policy::{Policy, Searcher},
    settings::{ComputedIn, Scan, Settings, TapCheck},
    target::TargetStates,
    transformation::Transformation,
    tuning::{
        CROWDED_FIRST, NEAR_POSITIONS, NEAR_VERIFIED, NOISE_SEQUENCE, ROUNDED_CANDIDATES, ROUNDED_POSITIONS,
    },
    vocabulary::Vocabulary,
    yardstick::Yardstick,
};

use super::{
    Inverter,
    branch::Branch,
    calibrate::{Calibrations, nothing_fits},
    recovery::Recovery,
};

/// The widths of rounded weights in order of likelihood: the format whose noise stands for all of that width, and the formats of that
/// width that are rounded in a known way.
const WIDTHS: [(NumberFormat, &[NumberFormat]); 2] = [
    (NumberFormat::Int8, &[NumberFormat::Int8]),
    (NumberFormat::Int4, &[NumberFormat::Nf4, NumberFormat::Int4, NumberFormat::Fp4]),
];

/// The weights of the producer, as the states of a prompt told.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    /// Rounded in a known way. Candidates are computed with them.
    Rounded(Rounded),
    /// As far from those given as a rounding to this format moves them. That is noise.
    Near(NumberFormat),
}

/// The weights of a decoder in a format of weights, with the noise measured with them.
#[derive(Clone, Debug)]
pub(super) struct Rounded {
    format: NumberFormat,
    decoder: Arc<Decoder>,
    noise: NoiseModel,
    calibrations: Arc<Mutex<Calibrations>>,
}

/// The weights that an earlier prompt of an inverter told, if its weights are doubted at all.
pub(super) type DoubtedWeights = Option<Arc<Mutex<Option<Weights>>>>;

impl<'a> Inverter<'a> {
    /// The same inverter, which takes the weights as given.
    pub(crate) fn with_weights_as_given(self) -> Self {
        Inverter { weights: None, ..self }
    }

    /// Whether these states may be those of other weights than the ones given.
    fn doubts_weights(&self, target: &TargetStates) -> bool {
        let stated = names_weights(self.settings.computed_in);
        let unchanged = *target.transformation() == Transformation::None;
        self.weights.is_some()
            && self.next.is_none()
            && self.settings.acceptance == Acceptance::default()
            && self.tap != Tap::Embedding
            && target.missing().is_empty()
            && (stated || (self.settings.computed_in == ComputedIn::Auto && unchanged))
    }

    /// Whether the weights of the producer are known, or the settings name their format.
    pub(super) fn knows_weights(&self) -> bool {
        names_weights(self.settings.computed_in) || self.known_weights().is_some()
    }

    fn known_weights(&self) -> Option<Weights> {
        let known = self.weights.as_ref()?;
        known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn know_weights(&self, weights: &Weights) {
        if let Some(known) = &self.weights {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(weights.clone());
        }
    }

    /// Recovers a prompt by weights that the settings name or an earlier prompt told. None if there are none, or they do not explain
    /// these states. What it takes to find out is added to `cost`.
    pub(super) fn invert_by_known_weights(
        &self,
        target: &TargetStates,
        searcher: &Searcher<'_>,
        cost: &mut Cost,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Inversion>, InvertError> {
        if !self.doubts_weights(target) {
            return Ok(None);
        }
        let policy = searcher.policy();
        let weights = match (self.settings.computed_in, self.known_weights()) {
            (ComputedIn::Format(format), None) => {
                let rounded = self.rounded(format)?;
                let explained = self.explains(&rounded, target, policy, cost)?;
                let weights = if explained { Weights::Rounded(rounded) } else { Weights::Near(format) };
                self.know_weights(&weights);
                Some(weights)
            }
            (ComputedIn::Format(_), known) => known,
            (ComputedIn::Auto, Some(Weights::Rounded(rounded))) => {
                self.explains(&rounded, target, policy, cost)?.then_some(Weights::Rounded(rounded))
            }
            (ComputedIn::Auto, Some(Weights::Near(format))) => {
                self.are_near(format, target, policy, cost)?.then_some(Weights::Near(format))
            }
            (ComputedIn::Auto, None) => None,
        };
        match (weights, self.settings.computed_in) {
            // The recovery begins with the noise that the settings name.
            (None, _) | (Some(Weights::Near(_)), ComputedIn::Format(_)) => Ok(None),
            (Some(weights), _) => self.invert_by(&weights, target, policy, progress).map(Some),
        }
    }

    /// Looks for weights of these widths that explain the states.
    fn find_weights(
        &self,
        widths: &[(NumberFormat, &[NumberFormat])],
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
    ) -> Result<Option<Weights>, InvertError> {
        for (width, formats) in widths {
            for &format in *formats {
                let rounded = self.rounded(format)?;
                if self.explains(&rounded, target, policy, cost)? {
                    return Ok(Some(Weights::Rounded(rounded)));
                }
            }
            if self.are_near(*width, target, policy, cost)? {
                return Ok(Some(Weights::Near(*width)));
            }
        }
        Ok(None)
    }

    fn invert_by(
        &self,
        weights: &Weights,
        target: &TargetStates,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        let (inverter, producer) = match weights {
            Weights::Rounded(rounded) => {
                let settings = self.settings.clone().with_computed_in(ComputedIn::Auto);
                (self.with_weights(rounded, settings), Some(Producer::RoundedWeights(rounded.format)))
            }
            &Weights::Near(format) => {
                let settings = self.settings.clone().with_computed_in(ComputedIn::Format(format));
                (self.with_settings(settings)?.with_weights_as_given(), None)
            }
        };
        let inversion = inverter.invert(target, &mut inverter.searcher(policy), progress)?;
        Ok(Inversion { producer: producer.or(inversion.producer), ..inversion })
    }

    fn rounded(&self, format: NumberFormat) -> Result<Rounded, InvertError> {
        let decoder = self.decoder.clone().with_weights_in(format)?;
        let len = NOISE_SEQUENCE.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let noise = NoiseModel::measure(&decoder, self.tap, len)?;
        Ok(Rounded { format, decoder: Arc::new(decoder), noise, calibrations: Arc::default() })
    }

    fn with_weights<'r>(&self, rounded: &'r Rounded, settings: Settings) -> Inverter<'r> {
        Inverter {
            decoder: &rounded.decoder,
            tap: self.tap,
            noise: rounded.noise,
            vocabulary: Arc::new(Vocabulary::new(&rounded.decoder, settings.arithmetic)),
            settings,
            calibrations: rounded.calibrations.clone(),
            neighbours: self.neighbours.clone(),
            comparing: self.comparing,
            weights: None,
            next: None,
        }
    }

    /// Whether rounded weights explain the first states. They must verify the tokens of the first two open positions, and their states of
    /// these tokens must be nearer than those of the weights given.
    fn explains(
        &self,
        rounded: &Rounded,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
    ) -> Result<bool, InvertError> {
        // Most weights are given up at the first position.
        for positions in 1..=ROUNDED_POSITIONS {
            let settings = self.trial(ROUNDED_CANDIDATES).with_computed_in(ComputedIn::Auto);
            let inverter = self.with_weights(rounded, settings);
            let beginning = beginning(target, positions);
            let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), &mut silent)?;
            cost.add_as_calibration(&inversion.cost);
            let verified = inversion.is_verified();
            if !verified
                || error(&rounded.decoder, target, &inversion)? >= error(self.decoder, target, &inversion)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the noise of rounding the weights to a format explains the first states: whether the evidence under that noise verifies
    /// tokens there. Where wrong tokens fit too, it seldom verifies all of them.
    fn are_near(
        &self,
        format: NumberFormat,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
    ) -> Result<bool, InvertError> {
        let settings = self.trial(CROWDED_FIRST).with_computed_in(ComputedIn::Format(format));
        let inverter = self.with_settings(settings)?.with_weights_as_given();
        let beginning = beginning(target, NEAR_POSITIONS);
        let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), &mut silent)?;
        cost.add_as_calibration(&inversion.cost);
        let verified = inversion.positions.iter().filter(|position| position.verdict.is_verified());
        let open = beginning.positions() - target.given().len();
        Ok(verified.count() >= NEAR_VERIFIED.min(open))
    }

    /// The settings of a trial with few candidates.
    fn trial(&self, candidates: usize) -> Settings {
        let candidates = candidates.min(self.decoder.config().vocab_size);
        let settings = self.settings.clone().with_tap_check(TapCheck::Never).with_scan(Scan::AsNeeded);
        settings.with_budget(self.settings.budget.with_candidates(candidates))
    }
}

impl Recovery<'_, '_> {
    /// Doubts the weights once, if the whole vocabulary fails at a first or second open position: if a width of rounded weights explains
    /// the states, the recovery ends with the prompt that they give.
    pub(super) fn doubt_weights(
        &mut self,
        branches: &[Branch],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), InvertError> {
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let at = branches.first().map_or(0, |branch| branch.trial.at);
        let vocab_size = self.comparison.vocab_size();
        let whole = branches.iter().all(|branch| branch.trial.tested.len() >= vocab_size);
        let failed = nothing_fits(branches) && whole;
        let doubts = inverter.settings.computed_in == ComputedIn::Auto && inverter.doubts_weights(target);
        if self.weights_doubted || !failed || !doubts || at >= target.given().len() + ROUNDED_POSITIONS {
            return Ok(());
        }
        self.weights_doubted = true;
        let mut widths = Vec::new();
        for width in WIDTHS {
            let Some(calibration) = self.calibration(width.0)? else { continue };
            let place = calibration.of(at, target.state(at));
            let yardstick = Yardstick::of_producer(place, 0.0, target, at);
            if branches.iter().any(|branch| branch.trial.tested.any_fits(&yardstick, target.state(at))) {
                widths.push(width);
            }
        }
        let left = self.comparison.watch.left();
        let budget = inverter.settings.budget.with_time(left);
        let inverter = inverter.with_settings(inverter.settings.clone().with_budget(budget))?;
        let policy = self.searcher.policy();
        let found = inverter.find_weights(&widths, target, policy, &mut self.comparison.cost)?;
        if let Some(weights) = found {
            inverter.know_weights(&weights);
            self.by_other_weights = Some(inverter.invert_by(&weights, target, policy, progress)?);
        }
        Ok(())
    }
}

/// Whether a setting names a format of weights.
fn names_weights(computed_in: ComputedIn) -> bool {
    matches!(computed_in, ComputedIn::Format(format) if !matches!(format, NumberFormat::Float(_)))
}

/// The states up to some open positions.
fn beginning(target: &TargetStates, open: usize) -> TargetStates {
    target.part((target.given().len() + open).min(target.positions()), target.given())
}

/// The sum of the squares of the distances from a decoder's states of recovered tokens, apart from those that were given.
fn error(decoder: &Decoder, target: &TargetStates, inversion: &Inversion) -> Result<f64, InvertError> {
    let states = TargetStates::of_prompt(decoder, target.tap(), &inversion.token_ids())?;
    let mut sum = 0.0;
    for position in target.given().len()..states.positions() {
        let mut state = states.state(position).to_vec();
        inversion.transformation.apply(&mut state, target.d_model());
        sum += state.iter().zip(target.state(position)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    }
    Ok(sum)
}
