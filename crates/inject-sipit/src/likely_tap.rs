//! Finds the tap of states whose file does not name it.
//!
//! Every tap's states of a few hundred tokens are computed in one pass. A state that lies next to one of them names its tap at once,
//! as BOS does. Otherwise the taps are ranked by the likelihood of the state under a normal distribution fitted to each tap's sample.
//! The ranking only decides the order in which taps are tried: a tap is found when some token fits there. If none fits at any tap, the one is
//! found at which a token is much nearer than all others tested.
//!
//! Otherwise, if a token is yet nearer than those of another model are, its weights may have been rounded. Then the weights are rounded as
//! the usual programs do it, and the tap is looked for with them.

mod normal;
mod rounded;
mod samples;
mod trial;

use std::{num::NonZeroUsize, time::Instant};

use ndarray::{ArrayView2, s};

use self::{
    rounded::find_rounded,
    samples::Samples,
    trial::{Fit, Nearest, Trial, Trialled},
};
use crate::{
    acceptance::Acceptance,
    error::InvertError,
    inverter::watch::now,
    models::{Decoder, FloatFormat, Progress, Tap, Unit},
    settings::Settings,
    target::TargetStates,
    transformation::Transformation,
    tuning::{TAP_DIRECTIONS, TAP_OTHER_WEIGHTS},
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
    /// The states are those of this tap: there a token fits the first state, or is much nearer to it than all others tested.
    At(Tap),
    /// No token tested fits at any tap tried. None if no candidate could be compared.
    Nowhere(Option<NearMiss>),
    /// No token tested fitted at any tap tried before the time was up. None if no candidate could be compared.
    TimeUp(Option<NearMiss>),
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
    /// The distance as a share of the length of the state.
    pub share: f64,
}

impl NearMiss {
    /// Whether the states are probably those of the same model with other weights, such as rounded ones.
    ///
    /// The states of another model are about as far from those of all tokens as they are long.
    pub fn is_of_other_weights(&self) -> bool {
        self.share < TAP_OTHER_WEIGHTS
    }
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
#[non_exhaustive]
pub struct TapSearch<'a> {
    /// The first tokens of the prompt, as far as they are known.
    pub given: &'a [u32],
    /// A token that prompts often begin with, such as BOS.
    pub begins: Option<u32>,
    /// The settings of each trial, among them the format of the states and the rule of acceptance. The time of the budget is that of the
    /// whole search.
    pub settings: &'a Settings,
    /// The number of taps that are tried, the likeliest first.
    pub most: NonZeroUsize,
}

impl<'a> TapSearch<'a> {
    /// Creates a search of `most` taps for a prompt of which nothing is known.
    pub fn new(settings: &'a Settings, most: NonZeroUsize) -> Self {
        TapSearch { given: &[], begins: None, settings, most }
    }

    /// Sets [`TapSearch::given`].
    pub fn after(self, given: &'a [u32]) -> Self {
        TapSearch { given, ..self }
    }

    /// Sets [`TapSearch::begins`].
    pub fn beginning_with(self, begins: Option<u32>) -> Self {
        TapSearch { begins, ..self }
    }
}

/// Finds the tap of the states of a prompt. The likeliest taps are tried, each with a bounded number of candidates for the first state after
/// the given ones. `progress` is called after every batch of candidates.
///
/// Where nothing fits at a tap, the direction of the state is compared too, at the tap that is likeliest by directions: the states
/// may have been multiplied by a number. The final norm hardly changes some directions, so noise lets a token fit before and after it. Of such
/// taps the one is found at which the token is nearest. Where nothing fits at any tap, a token that is much nearer than all others
/// determines the tap, or else rounded weights are tried.
///
/// # Shapes
///
/// `states` is `[positions, d_model]`, without the states of the given tokens.
///
/// # Errors
///
/// As [`likely_taps`] and [`Inverter::invert`](crate::Inverter::invert).
pub fn find_tap(
    decoder: &Decoder,
    states: ArrayView2<'_, f64>,
    dtype: FloatFormat,
    search: &TapSearch<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FoundTap, InvertError> {
    let &TapSearch { given, begins, settings, most } = search;
    let first = states.slice(s![..1.min(states.nrows()), ..]).as_standard_layout().into_owned();
    let until = settings.budget.time.and_then(|time| now().checked_add(time));
    let trial = Trial { decoder, first, dtype, given, begins, settings, until };
    check_width(decoder, trial.first.ncols())?;
    let samples = Samples::compute(decoder, given, begins)?;
    let shown = trial.shown_change()?;
    let ranked = trial.ranked(&samples, &shown)?;
    // A tolerance of the user's is not one of directions.
    let scalable = matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
    let mut by_direction = Vec::new();
    let mut nowhere: Option<Nearest> = None;
    let mut noisy: Vec<(Fit, Tap)> = Vec::new();
    let mut turns_after = 0;
    let all = ranked.len().min(most.get()) as u64;
    for (turn, tap) in ranked.into_iter().take(most.get()).enumerate() {
        let mut tried = |inner: Progress<'_>| {
            let report = Progress::new("look for the tap", Unit::Taps, turn as u64, all);
            progress(report.with_part(inner.fraction()));
        };
        // States that were multiplied by a number fit at no tap, and their lengths rank the taps wrongly.
        if turn == 0 && scalable && shown != Transformation::Direction {
            by_direction = trial.ranked(&samples, &Transformation::Direction)?;
        }
        let changed = by_direction.get(turn).map(|&tap| (tap, Transformation::Direction));
        for (tap, change) in std::iter::once((tap, Transformation::None)).chain(changed) {
            match trial.fits(tap, &change, &mut tried)? {
                Trialled::Fits(fit) if fit.is_exact || !fit.by_direction => return Ok(FoundTap::At(tap)),
                Trialled::Fits(fit) => noisy.push((fit, tap)),
                Trialled::Nearest(found)
                    if change == Transformation::None
                        && nowhere.as_ref().is_none_or(|least| found.miss.share < least.miss.share) =>
                {
                    nowhere = Some(found);
                }
                _ => {}
            }
        }
        turns_after += usize::from(!noisy.is_empty());
        if turns_after == TAP_DIRECTIONS || trial.is_up() {
            break;
        }
    }
    let nearest = noisy.iter().min_by(|(a, _), (b, _)| a.share.total_cmp(&b.share));
    if let Some(&(_, tap)) = nearest {
        return Ok(FoundTap::At(tap));
    }
    let rounded = match &nowhere {
        Some(nearest) if nearest.stands_out && scalable => Some(nearest.miss.tap),
        Some(nearest) if nearest.miss.is_of_other_weights() => {
            find_rounded(&trial, nearest, &shown, progress)?
        }
        _ => None,
    };
    let nearest = nowhere.map(|nearest| nearest.miss);
    Ok(match rounded {
        Some(tap) => FoundTap::At(tap),
        None if trial.is_up() => FoundTap::TimeUp(nearest),
        None => FoundTap::Nowhere(nearest),
    })
}

fn check_width(decoder: &Decoder, found: usize) -> Result<(), InvertError> {
    let expected = decoder.config().d_model;
    if found == expected { Ok(()) } else { Err(InvertError::Width { found, expected }) }
}

/// Finds another tap at which a token fits the first state that is not given. None if `own` is the likeliest, or nothing fits before
/// the time `until`.
pub(crate) fn another_tap(
    decoder: &Decoder,
    target: &TargetStates,
    begins: Option<u32>,
    settings: &Settings,
    most: usize,
    until: Option<Instant>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Tap>, InvertError> {
    let (given, at, own) = (target.given(), target.given().len(), target.tap());
    let first = target.states().slice(s![at..=at, ..]).to_owned();
    let trial = Trial { decoder, first, dtype: target.dtype(), given, begins, settings, until };
    let samples = Samples::compute(decoder, given, begins)?;
    let change = target.transformation();
    let scalable =
        *change == Transformation::None && matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
    for change in std::iter::once(change).chain(scalable.then_some(&Transformation::Direction)) {
        let ranked = trial.ranked(&samples, change)?;
        for tap in ranked.into_iter().take_while(|tap| *tap != own).take(most) {
            if trial.is_up() {
                return Ok(None);
            }
            // Noise lets a token fit at several taps by its direction.
            if let Trialled::Fits(fit) = trial.fits(tap, change, progress)?
                && (fit.is_exact || change == target.transformation())
            {
                return Ok(Some(tap));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use inject_testing::models::{FAMILIES, random};

    use super::*;
    use crate::{
        inverter::watch::move_on,
        models::{NumberFormat, config::NormConfig, silent},
        settings::Budget,
    };

    fn found(decoder: &Decoder, states: ArrayView2<'_, f64>, given: &[u32]) -> FoundTap {
        let settings = Settings::new();
        let search = TapSearch::new(&settings, every_tap(decoder)).after(given);
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
                        assert_eq!(found, FoundTap::At(tap), "{case}, given {given:?}");
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
        let settings = Settings::new();
        let search = TapSearch::new(&settings, most);
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
                        assert_eq!(found, FoundTap::At(tap), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn another_tap_is_looked_for_until_the_time_is_up() {
        let device = inject_testing::compiled().swap_remove(0);
        let decoder = random("llama", 31, &device);
        let states = TargetStates::of_prompt(&decoder, Tap::Block(1), &[5, 41, 7]).unwrap();
        let target = TargetStates::new(states.states().to_owned(), Tap::Block(2), FloatFormat::F32).unwrap();
        let found =
            |until| another_tap(&decoder, &target, None, &Settings::new(), 3, until, &mut silent).unwrap();
        assert_eq!(found(None), Some(Tap::Block(1)));
        assert_eq!(found(Some(Instant::now())), None);
    }

    #[test]
    fn the_tap_is_looked_for_within_the_time_of_the_budget() {
        let device = inject_testing::compiled().swap_remove(0);
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = TargetStates::of_prompt(&other, Tap::Block(2), &[5, 41, 7]).unwrap();
        let hour = Duration::from_secs(3600);
        let settings = Settings::new().with_budget(Budget::unlimited().with_time(hour));
        let search = TapSearch::new(&settings, every_tap(&decoder));
        let mut last = 0;
        let found = find_tap(&decoder, states.states(), FloatFormat::F32, &search, &mut |progress| {
            last = progress.done;
            move_on(hour);
        });
        assert!(matches!(found, Ok(FoundTap::TimeUp(Some(_)))), "{found:?}");
        assert_eq!(last, 0, "the second tap was tried");
    }

    #[test]
    fn the_tap_of_rounded_weights_is_found() {
        let device = inject_testing::compiled().swap_remove(0);
        let decoder = random("llama", 31, &device);
        for format in [NumberFormat::Int8, NumberFormat::Q8_0, NumberFormat::Nf4, NumberFormat::Q4_0] {
            let producer = decoder.clone().with_weights_in(format).unwrap();
            for tap in [Tap::Block(1), Tap::Block(2), Tap::FinalNorm] {
                let states = TargetStates::of_prompt(&producer, tap, &[5, 41, 7]).unwrap();
                assert_eq!(found(&decoder, states.states(), &[]), FoundTap::At(tap), "{format}");
                // The final norm of this model keeps the directions of some states.
                if tap != Tap::FinalNorm {
                    let unit = states.by_direction();
                    assert_eq!(found(&decoder, unit.states(), &[]), FoundTap::At(tap), "{format}");
                }
            }
        }
    }
}
