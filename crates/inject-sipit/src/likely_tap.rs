//! The tap of states that do not say it.
//!
//! Every tap's states of a few hundred tokens are computed in one pass. A state that lies next to one of them names its tap at once,
//! as BOS does. Otherwise the taps are ranked by the likelihood of the state under a normal distribution fitted to each tap's sample.
//! The ranking only decides the order in which taps are tried: a tap is found when some token fits there.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use ndarray::{Array2, ArrayView2, s};

use crate::{
    Inverter, Settings, TargetStates,
    collisions::{distance, norm},
    error::InvertError,
    median::median,
    models::{Decoder, FloatFormat, Logits, Tap, TokenBatch},
    noise::spread,
    policy::PolicyChoice,
    settings::{Budget, Scan},
    tensors::read,
    tuning::{TAP_CANDIDATES, TAP_NEXT_TO, TAP_RIDGE, TAP_SAMPLE},
};

/// A tap, and how likely it is that of a state.
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
    /// No token tested fits at any tap tried.
    Nowhere {
        /// The tap at which a token came nearest.
        tap: Tap,
        /// The distance of that token.
        distance: f64,
        /// The distance within which it would fit.
        floor: f64,
    },
}

/// Ranks the taps of a model by how likely a state after the tokens `given` is one of theirs, the likeliest first. `begins` is a token
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
    let (found, expected) = (state.len(), decoder.config().d_model);
    if found != expected {
        return Err(InvertError::Width { found, expected });
    }
    let vocab_size = decoder.config().vocab_size as u32;
    let tokens = begins.into_iter().chain(spread(vocab_size).take(TAP_SAMPLE));
    let prompts: Vec<Vec<u32>> = tokens.map(|token| [given, &[token]].concat()).collect();
    let taps = Tap::all(decoder.config().n_layers());
    let forward = decoder.forward(&TokenBatch::new(&prompts)?, &taps, Logits::None)?;
    let mut ranked = Vec::with_capacity(taps.len());
    for tap in taps {
        let last = forward.states[&tap].clone().narrow(1, given.len(), 1);
        let states = read(last)?;
        let samples: Vec<&[f64]> = states.chunks(expected).collect();
        let mut distances: Vec<f64> = samples.iter().map(|sample| distance(sample, state)).collect();
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let typical = median(&mut distances).max(f64::MIN_POSITIVE);
        // The token that prompts begin with is not typical of the others.
        let others = &samples[usize::from(begins.is_some())..];
        let log_likelihood =
            Normal::of(others).map_or(f64::NEG_INFINITY, |normal| normal.log_likelihood(state));
        ranked.push(LikelyTap { tap, nearest: nearest / typical, log_likelihood });
    }
    ranked.sort_by(|a, b| order(a).total_cmp(&order(b)).then(b.log_likelihood.total_cmp(&a.log_likelihood)));
    Ok(ranked)
}

/// A state next to a sample comes before all others, the nearest first.
fn order(tap: &LikelyTap) -> f64 {
    if tap.nearest < TAP_NEXT_TO { tap.nearest } else { TAP_NEXT_TO }
}

/// Finds the tap of the states of a prompt whose first tokens are `given`. At most `most` taps are tried, the likeliest first, each
/// with a bounded number of candidates for the first state after the given ones. `settings` say how the states were computed.
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
    given: &[u32],
    begins: Option<u32>,
    settings: &Settings,
    most: usize,
) -> Result<FoundTap, InvertError> {
    let first = states.slice(s![..1.min(states.nrows()), ..]).to_owned();
    let Some(state) = first.rows().into_iter().next().map(|row| row.to_vec()) else {
        return Err(InvertError::NoStates);
    };
    let ranked = likely_taps(decoder, given, &state, begins)?;
    let taps = ranked.into_iter().take(most).map(|likely| likely.tap);
    fits_at(decoder, &first, dtype, given, begins, settings, taps)
}

/// Tries taps for the first state of a prompt until a token fits.
fn fits_at(
    decoder: &Decoder,
    first: &Array2<f64>,
    dtype: FloatFormat,
    given: &[u32],
    begins: Option<u32>,
    settings: &Settings,
    taps: impl Iterator<Item = Tap>,
) -> Result<FoundTap, InvertError> {
    let candidates = TAP_CANDIDATES.min(decoder.config().vocab_size);
    let mut nowhere: Option<(f64, Tap, f64, f64)> = None;
    for tap in taps {
        let settings = settings
            .clone()
            .with_scan(Scan::AsNeeded)
            .with_tap_check(crate::settings::TapCheck::Never)
            .with_budget(Budget::unlimited().with_candidates(candidates));
        let target = TargetStates::new(first.clone(), tap, dtype)?.after(decoder, given)?;
        let inverter = Inverter::new(decoder, tap, settings)?;
        let choice = PolicyChoice::auto(decoder, tap, target.positions(), None, begins);
        let mut searcher = inverter.searcher(&choice.policy);
        let inversion = inverter.invert(&target, &mut searcher, &mut crate::models::silent)?;
        let Some(last) = inversion.positions.last() else { continue };
        if last.verdict.is_verified() {
            return Ok(FoundTap::Fits(tap));
        }
        if let Some(kept) = last.kept {
            let (distance, floor) = (kept.distance, kept.noise_floor);
            let length = norm(target.state(target.positions() - 1)).max(f64::MIN_POSITIVE);
            let share = distance / length;
            if nowhere.is_none_or(|(least, ..)| share < least) {
                nowhere = Some((share, tap, distance, floor));
            }
        }
    }
    let (_, tap, distance, floor) = nowhere.unwrap_or((0.0, Tap::Embedding, f64::INFINITY, 0.0));
    Ok(FoundTap::Nowhere { tap, distance, floor })
}

/// Finds another tap at which a token fits the first state that is not given. None if `own` is the likeliest, or nothing fits.
pub(crate) fn another_tap(
    decoder: &Decoder,
    target: &TargetStates,
    begins: Option<u32>,
    settings: &Settings,
    most: usize,
) -> Result<Option<Tap>, InvertError> {
    let (given, at) = (target.given(), target.given().len());
    let state = target.state(at).to_vec();
    let own = target.tap();
    let likelier: Vec<Tap> = likely_taps(decoder, given, &state, begins)?
        .into_iter()
        .map(|likely| likely.tap)
        .take_while(|tap| *tap != own)
        .take(most)
        .collect();
    let first = target.states().slice(s![at..=at, ..]).to_owned();
    let found = fits_at(decoder, &first, target.dtype(), given, begins, settings, likelier.into_iter())?;
    Ok(match found {
        FoundTap::Fits(tap) => Some(tap),
        FoundTap::Nowhere { .. } => None,
    })
}

/// A normal distribution with the covariance of a sample, and a share of the mean variance in every direction.
struct Normal {
    mean: DVector<f64>,
    /// The sample without its mean, over the square root of its size: `[size, d_model]`.
    sample: DMatrix<f64>,
    ridge: f64,
    /// The Cholesky factor of `ridge I + sample sample'`.
    factor: Cholesky<f64, Dyn>,
}

impl Normal {
    fn of(samples: &[&[f64]]) -> Option<Self> {
        let (size, width) = (samples.len(), samples.first()?.len());
        let mut sample = DMatrix::from_fn(size, width, |i, j| samples[i][j]);
        let mean = sample.row_mean().transpose();
        sample.row_iter_mut().for_each(|mut row| row -= mean.transpose());
        sample /= (size as f64).sqrt();
        let ridge = (TAP_RIDGE * sample.norm_squared() / width as f64).max(f64::MIN_POSITIVE);
        let mut gram = &sample * sample.transpose();
        (0..size).for_each(|i| gram[(i, i)] += ridge);
        let factor = Cholesky::new(gram)?;
        Some(Normal { mean, sample, ridge, factor })
    }

    /// By the identities of Woodbury and Sylvester, which need matrices of the sample's size only.
    fn log_likelihood(&self, state: &[f64]) -> f64 {
        let (size, width) = (self.sample.nrows() as f64, state.len() as f64);
        let off = DVector::from_column_slice(state) - &self.mean;
        let along = &self.sample * &off;
        let explained = along.dot(&self.factor.solve(&along));
        let quadratic = (off.norm_squared() - explained) / self.ridge;
        let log_determinant =
            (width - size) * self.ridge.ln() + self.factor.l_dirty().diagonal().map(f64::ln).sum() * 2.0;
        -0.5 * (quadratic + log_determinant)
    }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::{FAMILIES, random};

    use super::*;

    #[test]
    fn the_identities_give_the_density_of_the_covariance() {
        let samples = [[1.0, 2.0, 0.5], [0.0, -1.0, 2.0], [3.0, 0.5, -1.0], [0.5, 0.25, 0.0]];
        let views: Vec<&[f64]> = samples.iter().map(|sample| &sample[..]).collect();
        let normal = Normal::of(&views).unwrap();
        let covariance = normal.sample.transpose() * &normal.sample + DMatrix::identity(3, 3) * normal.ridge;
        let state = [0.3, 0.7, -0.2];
        let off = DVector::from_column_slice(&state) - &normal.mean;
        let expected = -0.5
            * (off.dot(&(covariance.clone().try_inverse().unwrap() * &off)) + covariance.determinant().ln());
        assert!((normal.log_likelihood(&state) - expected).abs() < 1e-9 * expected.abs());
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
                        let found = find_tap(
                            &decoder,
                            states.view(),
                            FloatFormat::F32,
                            given,
                            None,
                            &Settings::new(),
                            decoder.config().n_layers() + 2,
                        );
                        assert_eq!(found.unwrap(), FoundTap::Fits(tap), "{case}, given {given:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_states_of_another_model_fit_nowhere() {
        let device = inject_testing::compiled().swap_remove(0);
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = TargetStates::of_prompt(&other, Tap::Block(2), &[5, 41, 7]).unwrap();
        let most = decoder.config().n_layers() + 2;
        let found =
            find_tap(&decoder, states.states(), FloatFormat::F32, &[], None, &Settings::new(), most).unwrap();
        assert!(
            matches!(found, FoundTap::Nowhere { distance, floor, .. } if distance > 100.0 * floor),
            "{found:?}"
        );
    }
}
