//! Finds the tap of states whose file does not name it.
//!
//! Every tap's states of a few hundred tokens are computed in one pass. A state that lies next to one of them names its tap at once,
//! as BOS does. Otherwise the taps are ranked by the likelihood of the state under a normal distribution fitted to each tap's sample.
//! The ranking only decides the order in which taps are tried: a tap is found when some token fits there.

mod normal;
mod samples;

use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView2, s};

use self::samples::Samples;
use crate::{
    acceptance::Acceptance,
    collisions::norm,
    error::InvertError,
    inverter::Inverter,
    models::{Decoder, FloatFormat, Progress, Tap, Unit, config::NormConfig},
    policy::PolicyChoice,
    settings::{Budget, Scan, Settings, TapCheck},
    target::TargetStates,
    transformation::Transformation,
    tuning::TAP_CANDIDATES,
};

/// A tap, with the likelihood that a state was read there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LikelyTap {
    /// The tap that the state may belong to.
    pub tap: Tap,
    /// The distance of the nearest sample over the median distance of all.
    pub nearest: f64,
    /// The logarithm of the likelihood, up to a constant that is the same for all taps.
    pub log_likelihood: f64,
}

/// The result of a search for the tap of states.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoundTap {
    /// A token fits the first state at this tap.
    Fits(Tap),
    /// No token tested fits at any tap tried. None if no candidate could be compared.
    Nowhere(Option<NearMiss>),
}

/// The tap at which a token came nearest to a state, relative to the length of the state, where none fits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NearMiss {
    /// The tap at which the token was compared.
    pub tap: Tap,
    /// The distance of the nearest token's state.
    pub distance: f64,
    /// The distance within which it would fit.
    pub floor: f64,
}

/// Ranks the taps of a model by the likelihood that a state after the tokens `given` was read there, the likeliest first. `begins` is a token
/// that prompts often begin with, such as BOS.
///
/// # Errors
///
/// [`InvertError::Width`] if the state has another width than the model's, and [`InvertError::Model`] if the device fails.
pub fn likely_taps(
    decoder: &Decoder,
    given: &[u32],
    state: &[f64],
    begins: Option<u32>,
) -> Result<Vec<LikelyTap>, InvertError> {
    check_width(decoder, state.len())?;
    Samples::compute(decoder, given, begins)?.ranked(state, &Transformation::None)
}

/// The known facts about states whose tap is searched for, and the number of taps to try.
#[derive(Clone, Copy, Debug)]
pub struct TapSearch<'a> {
    /// The first tokens of the prompt, as far as they are known.
    pub given: &'a [u32],
    /// A token that prompts often begin with, such as BOS.
    pub begins: Option<u32>,
    /// The settings of each trial, among them the format of the states and the rule of acceptance.
    pub settings: &'a Settings,
    /// The number of taps that are tried, the likeliest first.
    pub most: NonZeroUsize,
}

/// Finds the tap of the states of a prompt. The likeliest taps are tried, each with a bounded number of candidates for the first state after
/// the given ones. `progress` is called after every batch of candidates.
///
/// Where nothing fits at a tap, the direction of the state is compared too, at the tap that is likeliest by directions: the states
/// may have been multiplied by a number.
///
/// # Shapes
///
/// `states` is `[positions, d_model]`, without the states of the given tokens.
///
/// # Errors
///
/// As [`likely_taps`] and [`Inverter::invert`].
pub fn find_tap(
    decoder: &Decoder,
    states: ArrayView2<'_, f64>,
    dtype: FloatFormat,
    search: &TapSearch<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FoundTap, InvertError> {
    let &TapSearch { given, begins, settings, most } = search;
    let first = states.slice(s![..1.min(states.nrows()), ..]).to_owned();
    let trial = Trial { decoder, first, dtype, given, begins, settings };
    check_width(decoder, trial.first.ncols())?;
    let samples = Samples::compute(decoder, given, begins)?;
    let ranked = trial.ranked(&samples, &trial.unscaled()?)?;
    // A tolerance of the user's is not one of directions.
    let scalable = matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
    let mut by_direction = Vec::new();
    let mut nowhere: Option<Nearest> = None;
    let all = ranked.len().min(most.get()) as u64;
    for (turn, tap) in ranked.into_iter().take(most.get()).enumerate() {
        let mut tried = |inner: Progress<'_>| {
            let report = Progress::new("look for the tap", Unit::Taps, turn as u64, all);
            progress(report.with_part(inner.fraction()));
        };
        match trial.fits(tap, &Transformation::None, &mut tried)? {
            Trialled::Fits => return Ok(FoundTap::Fits(tap)),
            Trialled::Nearest(found) if nowhere.is_none_or(|least| found.share < least.share) => {
                nowhere = Some(found);
            }
            _ => {}
        }
        // States that were multiplied by a number fit at no tap, and their lengths rank the taps wrongly.
        if turn == 0 && scalable {
            by_direction = trial.ranked(&samples, &Transformation::Direction)?;
        }
        if let Some(&tap) = by_direction.get(turn)
            && matches!(trial.fits(tap, &Transformation::Direction, &mut tried)?, Trialled::Fits)
        {
            return Ok(FoundTap::Fits(tap));
        }
    }
    Ok(FoundTap::Nowhere(nowhere.map(|nearest| nearest.miss)))
}

fn check_width(decoder: &Decoder, found: usize) -> Result<(), InvertError> {
    let expected = decoder.config().d_model;
    if found == expected { Ok(()) } else { Err(InvertError::Width { found, expected }) }
}

/// A first state, and what is known of it, to try taps for.
struct Trial<'a> {
    decoder: &'a Decoder,
    /// The state of the first position. Shape `[1, d_model]`.
    first: Array2<f64>,
    dtype: FloatFormat,
    given: &'a [u32],
    begins: Option<u32>,
    settings: &'a Settings,
}

/// The result of one tap.
enum Trialled {
    /// A token fits the state at the tap.
    Fits,
    /// No token tested fits, and this one came nearest.
    Nearest(Nearest),
    /// No candidate was compared with the state.
    Nothing,
}

/// The nearest token at a tap where none fits.
#[derive(Clone, Copy)]
struct Nearest {
    /// Its distance, as a share of the length of the state.
    share: f64,
    miss: NearMiss,
}

impl Trial<'_> {
    /// The state at a tap, compared by its direction if `change` says so.
    fn target(&self, tap: Tap, change: &Transformation) -> Result<TargetStates, InvertError> {
        let target = TargetStates::new(self.first.clone(), tap, self.dtype)?;
        Ok(if *change == Transformation::Direction { target.by_direction() } else { target })
    }

    /// The change of a state that was not multiplied: it may lack its mean.
    fn unscaled(&self) -> Result<Transformation, InvertError> {
        let blind = matches!(self.decoder.config().final_norm, NormConfig::Layer { .. });
        let centred = blind && self.target(Tap::Embedding, &Transformation::None)?.has_no_means();
        Ok(if centred { Transformation::Centred } else { Transformation::None })
    }

    /// The taps, the likeliest first.
    fn ranked(&self, samples: &Samples, change: &Transformation) -> Result<Vec<Tap>, InvertError> {
        let mut state = self.target(Tap::Embedding, change)?.state(0).to_vec();
        change.apply(&mut state, self.first.ncols());
        Ok(samples.ranked(&state, change)?.into_iter().map(|likely| likely.tap).collect())
    }

    /// Looks for a token whose state at a tap is the one given.
    fn fits(
        &self,
        tap: Tap,
        change: &Transformation,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Trialled, InvertError> {
        let candidates = TAP_CANDIDATES.min(self.decoder.config().vocab_size);
        let settings = self
            .settings
            .clone()
            .with_scan(Scan::AsNeeded)
            .with_tap_check(TapCheck::Never)
            .with_budget(Budget::unlimited().with_candidates(candidates));
        let target = self.target(tap, change)?.after(self.decoder, self.given)?;
        let inverter = Inverter::new(self.decoder, tap, settings)?.with_weights_as_given();
        let choice = PolicyChoice::auto(self.decoder, tap, target.positions(), None, self.begins);
        let inversion = inverter.invert(&target, &mut inverter.searcher(&choice.policy), progress)?;
        let Some(last) = inversion.positions.last() else { return Ok(Trialled::Nothing) };
        if last.verdict.is_verified() {
            return Ok(Trialled::Fits);
        }
        let length = norm(target.state(target.positions() - 1)).max(f64::MIN_POSITIVE);
        Ok(last.kept.map_or(Trialled::Nothing, |kept| {
            let miss = NearMiss { tap, distance: kept.distance, floor: kept.noise_floor };
            Trialled::Nearest(Nearest { share: miss.distance / length, miss })
        }))
    }
}

/// Finds another tap at which a token fits the first state that is not given. None if `own` is the likeliest, or nothing fits.
pub(crate) fn another_tap(
    decoder: &Decoder,
    target: &TargetStates,
    begins: Option<u32>,
    settings: &Settings,
    most: usize,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Tap>, InvertError> {
    let (given, at, own) = (target.given(), target.given().len(), target.tap());
    let first = target.states().slice(s![at..=at, ..]).to_owned();
    let trial = Trial { decoder, first, dtype: target.dtype(), given, begins, settings };
    let samples = Samples::compute(decoder, given, begins)?;
    let ranked = trial.ranked(&samples, target.transformation())?;
    for tap in ranked.into_iter().take_while(|tap| *tap != own).take(most) {
        if matches!(trial.fits(tap, target.transformation(), progress)?, Trialled::Fits) {
            return Ok(Some(tap));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use inject_testing::models::{FAMILIES, random};

    use super::*;
    use crate::models::silent;

    fn found(decoder: &Decoder, states: ArrayView2<'_, f64>, given: &[u32]) -> FoundTap {
        let search = TapSearch { given, begins: None, settings: &Settings::new(), most: every_tap(decoder) };
        find_tap(decoder, states, FloatFormat::F32, &search, &mut silent).unwrap()
    }

    fn every_tap(decoder: &Decoder) -> NonZeroUsize {
        NonZeroUsize::new(Tap::all(decoder.config().n_layers()).len()).unwrap()
    }

    #[test]
    fn every_tap_is_found_from_the_states_alone_after_a_given_prefix_too() {
        for device in inject_testing::compiled() {
            for case in FAMILIES {
                let decoder = random(case, 31, &device);
                for tap in Tap::all(decoder.config().n_layers()) {
                    let whole = TargetStates::of_prompt(&decoder, tap, &[5, 41, 7, 63]).unwrap();
                    for given in [&[][..], &[5, 41]] {
                        let states = whole.states().slice(s![given.len().., ..]).to_owned();
                        let found = found(&decoder, states.view(), given);
                        assert_eq!(found, FoundTap::Fits(tap), "{case}, given {given:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_search_reports_progress_tap_by_tap() {
        let device = inject_testing::compiled().swap_remove(0);
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = TargetStates::of_prompt(&other, Tap::Block(2), &[5, 41, 7]).unwrap();
        let most = every_tap(&decoder);
        let search = TapSearch { given: &[], begins: None, settings: &Settings::new(), most };
        let mut done = Vec::new();
        find_tap(&decoder, states.states(), FloatFormat::F32, &search, &mut |progress| {
            assert_eq!((progress.unit, progress.total), (Unit::Taps, most.get() as u64));
            done.push(progress.done);
        })
        .unwrap();
        assert!(done.is_sorted(), "{done:?}");
        done.dedup();
        assert_eq!(done, Vec::from_iter(0..most.get() as u64));
    }

    #[test]
    fn the_states_of_another_model_fit_nowhere() {
        let device = inject_testing::compiled().swap_remove(0);
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = TargetStates::of_prompt(&other, Tap::Block(2), &[5, 41, 7]).unwrap();
        let found = found(&decoder, states.states(), &[]);
        assert!(
            matches!(found, FoundTap::Nowhere(Some(miss)) if miss.distance > 100.0 * miss.floor),
            "{found:?}"
        );
    }

    #[test]
    fn the_tap_of_states_that_were_multiplied_or_centred_is_found() {
        for device in inject_testing::compiled() {
            for case in FAMILIES {
                let decoder = random(case, 31, &device);
                let blind = matches!(decoder.config().final_norm, NormConfig::Layer { .. });
                for tap in Tap::all(decoder.config().n_layers()) {
                    let whole = TargetStates::of_prompt(&decoder, tap, &[5, 41, 7]).unwrap();
                    let scaled = whole.states().mapv(|value| f64::from((0.37 * value) as f32));
                    let centred = whole.clone().centred().states().to_owned();
                    let centrable = blind && tap != Tap::FinalNorm;
                    for states in std::iter::once(scaled).chain(centrable.then_some(centred)) {
                        let found = found(&decoder, states.view(), &[]);
                        assert_eq!(found, FoundTap::Fits(tap), "{case}");
                    }
                }
            }
        }
    }
}
