//! The weights of a producer that rounded them: found where nothing fits as the weights given compute it.
//!
//! Programs round weights to INT8, INT4, NF4 and FP4 in one way each ([`Decoder::with_weights_in`]). So a producer's weights may be known,
//! and its states then lie within the noise of computing in 16 bits, a tenth of what the rounding of weights to 4 bits adds. If
//! the weights were rounded in another way, they are as far from these as from the given ones, and that distance is noise.

mod doubted;
mod evidence;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    acceptance::Acceptance,
    cost::{Cost, StageCost},
    error::InvertError,
    inversion::{Inversion, Producer},
    models::{Decoder, NumberFormat, Progress, Tap},
    noise::NoiseModel,
    policy::{Policy, Searcher},
    rounding::with_weights_in,
    settings::{ComputedIn, Settings},
    target::TargetStates,
    transformation::Transformation,
    tuning::NOISE_SEQUENCE,
    vocabulary::Vocabulary,
};

pub(crate) use self::doubted::weights_known;
use super::{Inverter, calibrate::Calibrations};

/// The weights of the producer, as inferred from the states of a prompt.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    /// Rounded in a known way. Candidates are computed with them, and compared as the trial that found them compared them.
    Rounded(Rounded, ComputedIn),
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

/// The weights inferred from an earlier prompt of an inverter, if its weights are doubted at all.
pub(super) type DoubtedWeights = Option<Arc<Mutex<Option<Weights>>>>;

impl<'a> Inverter<'a> {
    /// The same inverter, which takes the weights as given.
    pub(crate) fn with_weights_as_given(self) -> Self {
        Inverter { weights: None, ..self }
    }

    /// Whether these states may be those of other weights than the ones given.
    fn doubts_weights(&self, target: &TargetStates) -> bool {
        let stated = names_weights(self.settings.computed_in);
        // A direction tells as much as a state. A factor was found with the weights given.
        let comparable = matches!(target.transformation(), Transformation::None | Transformation::Direction);
        self.weights.is_some()
            && self.next.is_none()
            && self.settings.acceptance == Acceptance::default()
            && self.tap != Tap::Embedding
            && target.missing().is_empty()
            && (stated || (self.settings.computed_in == ComputedIn::Auto && comparable))
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

    /// Recovers a prompt by weights that the settings name or that were inferred from an earlier prompt. None if there are none, or
    /// they do not explain these states. What it takes to find out is added to `cost`.
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
                let rounded = self.rounded(format, progress)?;
                let weights = match self.explains(&rounded, target, policy, cost, progress)? {
                    Some(computed_in) => Weights::Rounded(rounded, computed_in),
                    None => Weights::Near(format),
                };
                self.know_weights(&weights);
                Some(weights)
            }
            (ComputedIn::Format(_), known) => known,
            (ComputedIn::Auto, Some(Weights::Rounded(rounded, _))) => {
                let explained = self.explains(&rounded, target, policy, cost, progress)?;
                explained.map(|computed_in| Weights::Rounded(rounded, computed_in))
            }
            (ComputedIn::Auto, Some(Weights::Near(format))) => {
                self.are_near(format, target, policy, cost, progress)?.then_some(Weights::Near(format))
            }
            (ComputedIn::Auto, None) => None,
        };
        match (weights, self.settings.computed_in) {
            // The recovery begins with the noise that the settings name.
            (None, _) | (Some(Weights::Near(_)), ComputedIn::Format(_)) => Ok(None),
            (Some(weights), _) => self.invert_by(&weights, target, policy, progress).map(Some),
        }
    }

    fn invert_by(
        &self,
        weights: &Weights,
        target: &TargetStates,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        let (inverter, producer) = match weights {
            Weights::Rounded(rounded, computed_in) => {
                let settings = self.settings.clone().with_computed_in(*computed_in);
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

    fn rounded(
        &self,
        format: NumberFormat,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Rounded, InvertError> {
        let decoder = with_weights_in(self.decoder, format, progress)?;
        let len = NOISE_SEQUENCE.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let (unchanged, cost) = (&Transformation::None, &mut StageCost::default());
        let noise = NoiseModel::measure_counting(&decoder, self.tap, len, unchanged, cost, progress)?;
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
}

/// Whether a setting names a format of weights.
fn names_weights(computed_in: ComputedIn) -> bool {
    matches!(computed_in, ComputedIn::Format(format) if !matches!(format, NumberFormat::Float(_)))
}
