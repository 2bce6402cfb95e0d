//! One tap, tried with a bounded number of candidates.

use std::time::{Duration, Instant};

use ndarray::Array2;

use super::{NearMiss, samples::Samples};
use crate::{
    acceptance::NoiseOrigin,
    chance::separation,
    collisions::norm,
    error::InvertError,
    inverter::{Inverter, watch::now},
    models::{Decoder, FloatFormat, NumberFormat, Progress, Tap, config::NormConfig},
    policy::PolicyChoice,
    settings::{Budget, ComputedIn, Scan, Settings, TapCheck},
    target::TargetStates,
    transformation::Transformation,
    tuning::{ALONE_BY_SAMPLE, NEIGHBOURS_SAMPLE},
};

/// A first state, and what is known of it, to try taps for.
pub(super) struct Trial<'a> {
    pub(super) decoder: &'a Decoder,
    /// The state of the first position. Shape `[1, d_model]`.
    pub(super) first: Array2<f64>,
    pub(super) dtype: FloatFormat,
    pub(super) given: &'a [u32],
    pub(super) begins: Option<u32>,
    pub(super) settings: &'a Settings,
    /// The time at which the trial ends.
    pub(super) until: Option<Instant>,
}

/// The result of one tap.
pub(super) enum Trialled {
    /// A token fits the state at the tap.
    Fits(Fit),
    /// No token tested fits, and this one came nearest.
    Nearest(Nearest),
    /// No candidate was compared with the state.
    Nothing,
}

/// A token that fits.
#[derive(Clone, Copy)]
pub(super) struct Fit {
    /// Its distance, as a share of the length of the state.
    pub(super) share: f64,
    /// Whether it fits within the noise of computing in f32.
    pub(super) is_exact: bool,
    /// Whether directions were compared.
    pub(super) by_direction: bool,
}

/// The nearest token at a tap where none fits.
#[derive(Clone, Copy)]
pub(super) struct Nearest {
    pub(super) token: u32,
    pub(super) miss: NearMiss,
    /// Whether it is so much nearer than all others tested that it is the token, and noise that is not known hides it.
    pub(super) stands_out: bool,
}

impl<'a> Trial<'a> {
    /// The state at a tap, compared by its direction if `change` says so.
    fn target(&self, tap: Tap, change: &Transformation) -> Result<TargetStates, InvertError> {
        let target = TargetStates::new(self.first.clone(), tap, self.dtype)?;
        Ok(if *change == Transformation::Direction { target.by_direction() } else { target })
    }

    /// The change that the state itself shows: it may lack its mean, or be divided by its length.
    pub(super) fn shown_change(&self) -> Result<Transformation, InvertError> {
        let blind = matches!(self.decoder.config().final_norm, NormConfig::Layer { .. });
        let target = self.target(Tap::Embedding, &Transformation::None)?;
        Ok(match () {
            () if blind && target.has_no_means() => Transformation::Centred,
            () if target.has_unit_lengths() => Transformation::Direction,
            () => Transformation::None,
        })
    }

    /// The time that is left, if it is bounded.
    fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now()))
    }

    pub(super) fn is_up(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The taps, the likeliest first.
    pub(super) fn ranked(&self, samples: &Samples, change: &Transformation) -> Result<Vec<Tap>, InvertError> {
        let mut state = self.target(Tap::Embedding, change)?.state(0).to_vec();
        change.apply(&mut state, self.first.ncols());
        Ok(samples.ranked(&state, change)?.into_iter().map(|likely| likely.tap).collect())
    }

    /// The states of some tokens at every tap. They are computed as the producer of the given state probably did: at an attention sink the
    /// error of 16 bits is as long as the step from one tap to the next, and most of it is the same for all tokens.
    pub(super) fn samples(&self) -> Result<Samples, InvertError> {
        let stated = match self.settings.computed_in {
            ComputedIn::Auto => self.target(Tap::Embedding, &Transformation::None)?.grid(),
            ComputedIn::Format(NumberFormat::Float(format)) => Some(format),
            ComputedIn::Format(_) => None,
        };
        match stated {
            // A model may overflow in f16, whose error is ten times smaller.
            Some(FloatFormat::Bf16) => {
                let producer = self.decoder.clone().computing_in(FloatFormat::Bf16);
                Samples::compute(&producer, self.given, self.begins)
            }
            _ => Samples::compute(self.decoder, self.given, self.begins),
        }
    }

    /// An inverter for a tap.
    pub(super) fn inverter(&self, tap: Tap) -> Result<Inverter<'a>, InvertError> {
        let settings = self.settings.clone().with_scan(Scan::AsNeeded).with_tap_check(TapCheck::Never);
        let settings = settings.with_budget(Budget::unlimited());
        Ok(Inverter::new(self.decoder, tap, settings)?.with_weights_as_given())
    }

    /// Looks for a token among `candidates` whose state at the tap of an inverter is the one given.
    pub(super) fn fits(
        &self,
        inverter: &Inverter<'a>,
        change: &Transformation,
        candidates: usize,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Trialled, InvertError> {
        let tap = inverter.tap();
        let budget = Budget::unlimited().with_candidates(candidates).with_time(self.left());
        let inverter = inverter.with_settings(inverter.settings().clone().with_budget(budget))?;
        let target = self.target(tap, change)?.after(self.decoder, self.given)?;
        let choice = PolicyChoice::auto(self.decoder, tap, target.positions(), None, self.begins);
        let inversion = inverter.invert(&target, &mut inverter.searcher(&choice.policy), progress)?;
        let Some((last, kept)) = inversion.positions.last().and_then(|last| Some((last, last.kept?))) else {
            return Ok(Trialled::Nothing);
        };
        let by_direction = inversion.transformation == Transformation::Direction;
        let length = if by_direction { 1.0 } else { norm(target.state(target.positions() - 1)) };
        let share = kept.distance / length.max(f64::MIN_POSITIVE);
        if last.verdict.is_verified() {
            let is_exact = kept.noise == NoiseOrigin::Computing;
            return Ok(Trialled::Fits(Fit { share, is_exact, by_direction }));
        }
        let miss = NearMiss { tap, distance: kept.distance, floor: kept.noise_floor, share };
        let apart = separation(ALONE_BY_SAMPLE, self.first.ncols());
        let is_sample = last.candidates_tested >= NEIGHBOURS_SAMPLE.min(self.decoder.config().vocab_size);
        let stands_out =
            is_sample && kept.runner_up.is_some_and(|other| other.distance >= apart * kept.distance);
        Ok(Trialled::Nearest(Nearest { token: kept.token_id, miss, stands_out }))
    }
}
