//! The search for the tap of the first state of a prompt.

use std::num::NonZeroUsize;

use ndarray::{ArrayView2, s};

use super::{
    FoundTap,
    attempts::{Attempts, rounds},
    check_width,
    rounded::find_rounded,
    trial::{Fit, Nearest, Trial, Trialled},
};
use crate::{
    acceptance::Acceptance,
    error::InvertError,
    inverter::watch::now,
    models::{Decoder, FloatFormat, Progress, Tap, Unit},
    settings::Settings,
    transformation::Transformation,
    tuning::TAP_DIRECTIONS,
};

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
/// the given ones: with few of them at all taps first, and with more where nothing fits at any. `progress` is called after every batch of
/// candidates.
///
/// Where nothing fits at a tap with all candidates, the direction of the state is compared too, at the tap that is likeliest by directions: the states
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
/// As [`likely_taps`](super::likely_taps) and [`Inverter::invert`](crate::Inverter::invert).
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
    let samples = trial.samples()?;
    let shown = trial.shown_change()?;
    let mut taps = trial.ranked(&samples, &shown)?;
    taps.truncate(most.get());
    // A tolerance of the user's is not one of directions.
    let scalable = matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
    // States that were multiplied by a number fit at no tap, and their lengths rank the taps wrongly.
    let by_direction = match scalable && shown != Transformation::Direction {
        true => trial.ranked(&samples, &Transformation::Direction)?,
        false => Vec::new(),
    };
    let mut attempts = Attempts::new(&trial);
    let mut nowhere: Option<Nearest> = None;
    let rounds = rounds(decoder.config().vocab_size);
    for (round, &candidates) in rounds.iter().enumerate() {
        // Noise lets a direction fit at several taps, which are compared by all candidates.
        let is_last = round + 1 == rounds.len();
        let by_direction = if is_last { &by_direction[..] } else { &[] };
        let task = if round == 0 { "look for the tap" } else { "look for the tap with more candidates" };
        let mut report = |turn: usize, inner: Progress<'_>| {
            let report = Progress::new(task, Unit::Taps, turn as u64, taps.len() as u64);
            progress(report.with_part(inner.fraction()));
        };
        let tried = try_taps(&mut attempts, &taps, by_direction, candidates, &mut report)?;
        if let Some(tap) = tried.fits {
            return Ok(FoundTap::At(tap));
        }
        if trial.is_up() {
            nowhere = nowhere.or(tried.nearest().copied());
            break;
        }
        taps = tried.nearest_first(taps);
        nowhere = tried.nearest().copied().or(nowhere);
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

/// The result of one round over the taps.
#[derive(Default)]
struct Tried {
    /// The tap at which a token fits.
    fits: Option<Tap>,
    /// The nearest token at each tap where none fits.
    misses: Vec<Nearest>,
}

impl Tried {
    /// The miss that is nearest relative to the length of the state.
    fn nearest(&self) -> Option<&Nearest> {
        self.misses.iter().min_by(|a, b| a.miss.share.total_cmp(&b.miss.share))
    }

    /// The taps in the order in which a token came near to the floor, and then those where none was compared.
    fn nearest_first(&self, mut taps: Vec<Tap>) -> Vec<Tap> {
        let floors = |tap: &Tap| {
            let miss = self.misses.iter().find(|nearest| nearest.miss.tap == *tap);
            miss.map_or(f64::INFINITY, |nearest| nearest.miss.distance / nearest.miss.floor)
        };
        taps.sort_by(|a, b| floors(a).total_cmp(&floors(b)));
        taps
    }
}

/// Tries the taps one after the other, and in each turn the one that is likeliest by directions too.
fn try_taps(
    attempts: &mut Attempts<'_, '_>,
    taps: &[Tap],
    by_direction: &[Tap],
    candidates: usize,
    report: &mut dyn FnMut(usize, Progress<'_>),
) -> Result<Tried, InvertError> {
    let mut tried = Tried::default();
    let mut noisy: Vec<(Fit, Tap)> = Vec::new();
    let mut turns_after = 0;
    for (turn, &tap) in taps.iter().enumerate() {
        let changed = by_direction.get(turn).map(|&tap| (tap, Transformation::Direction));
        for (tap, change) in std::iter::once((tap, Transformation::None)).chain(changed) {
            match attempts.fits(tap, &change, candidates, &mut |inner| report(turn, inner))? {
                Trialled::Fits(fit) if fit.is_exact || !fit.by_direction => {
                    return Ok(Tried { fits: Some(tap), ..tried });
                }
                Trialled::Fits(fit) => noisy.push((fit, tap)),
                Trialled::Nearest(nearest) if change == Transformation::None => tried.misses.push(nearest),
                _ => {}
            }
        }
        turns_after += usize::from(!noisy.is_empty());
        if turns_after == TAP_DIRECTIONS || attempts.is_up() {
            break;
        }
    }
    // The final norm hardly changes some directions, so noise lets a token fit before and after it.
    let nearest = noisy.iter().min_by(|(a, _), (b, _)| a.share.total_cmp(&b.share));
    tried.fits = nearest.map(|&(_, tap)| tap);
    Ok(tried)
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
        target::TargetStates,
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
