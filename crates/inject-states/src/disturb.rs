//! Changes that states may have after a leak: rounding, noise, dropout, clipping.
//!
//! A disturbance changes the states of one prompt (or the rows of one tap), in f64 and in place. It is written as one word,
//! such as `int8-row` or `dropout:0.1`: the same word on a command line, in a file of results and in a table.

mod rounding;

use std::{fmt, str::FromStr};

use ndarray::Array2;

pub use self::rounding::{Rounding, ScaledBy};
use crate::random::SplitMix;

/// A change of states between their producer and their reader.
///
/// # Example
///
/// ```
/// use inject_states::{Disturbance, Rounding, ScaledBy, models::NumberFormat};
///
/// let mut states = ndarray::arr2(&[[127.0, 3.2, -0.4], [1.0, 0.0, 0.0]]);
/// let rounding: Disturbance = "int8-row".parse()?;
/// assert_eq!(rounding, Disturbance::Rounded(Rounding::new(NumberFormat::Int8, ScaledBy::Row)));
/// rounding.apply(&mut states, 1);
/// assert_eq!(states.row(0).to_vec(), [127.0, 3.0, 0.0]);
/// # Ok::<(), inject_states::DisturbanceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Disturbance {
    /// Rounding to a narrower number format: `f16`, `bf16`, `int8-row`, `int8-tensor`, `int4-row`, `int4-tensor`.
    Rounded(Rounding),
    /// Noise of this L2 norm in a random direction, for each state by itself: `noise:NORM`. It is Gaussian noise, scaled to its
    /// norm.
    Noise {
        /// The L2 norm of the noise.
        norm: f64,
    },
    /// Zeros in place of a random share of each state's coordinates: `dropout:SHARE`. Which ones is not recorded.
    Dropout {
        /// The share, from 0 to 1.
        share: f64,
    },
    /// A limit on each coordinate, as a multiple of the root mean square of its state: `clip:TIMES`.
    Clip {
        /// The limit in root mean squares of the state.
        times: f64,
    },
}

/// A text that does not name a disturbance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown disturbance `{found}`: expected f16, bf16, int8-row, int8-tensor, int4-row, int4-tensor, noise:NORM, \
     dropout:SHARE (0 to 1) or clip:TIMES"
)]
#[non_exhaustive]
pub struct DisturbanceError {
    /// The text that is not the name of a disturbance.
    pub found: String,
}

impl Disturbance {
    /// Returns whether the result depends on the seed. Equal states then do not stay equal.
    pub fn is_random(self) -> bool {
        match self {
            Disturbance::Noise { .. } | Disturbance::Dropout { .. } => true,
            Disturbance::Rounded(_) | Disturbance::Clip { .. } => false,
        }
    }

    /// Disturbs the states, one a row. The same seed gives the same result.
    ///
    /// A value beyond the range of `f16` becomes infinite, as it would in storage.
    pub fn apply(self, states: &mut Array2<f64>, seed: u64) {
        let mut numbers = SplitMix::seeded(seed);
        match self {
            Disturbance::Rounded(rounding) => {
                rounding.round(states);
            }
            Disturbance::Noise { norm } => {
                for mut state in states.rows_mut() {
                    let direction = numbers.direction(state.len());
                    state.iter_mut().zip(direction).for_each(|(value, along)| *value += norm * along);
                }
            }
            Disturbance::Dropout { share } => {
                for value in states.iter_mut() {
                    if numbers.share() < share {
                        *value = 0.0;
                    }
                }
            }
            Disturbance::Clip { times } => {
                for mut state in states.rows_mut() {
                    let squares = state.iter().map(|value| value * value).sum::<f64>();
                    let most = times * (squares / state.len().max(1) as f64).sqrt();
                    state.mapv_inplace(|value| value.clamp(-most, most));
                }
            }
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Disturbance::Rounded(rounding) => rounding.to_string(),
            Disturbance::Noise { norm } => format!("noise:{norm}"),
            Disturbance::Dropout { share } => format!("dropout:{share}"),
            Disturbance::Clip { times } => format!("clip:{times}"),
        };
        f.pad(&word)
    }
}

inject_models::serialise_as_text!(Disturbance);

impl FromStr for Disturbance {
    type Err = DisturbanceError;

    fn from_str(text: &str) -> Result<Self, DisturbanceError> {
        let unknown = || DisturbanceError { found: text.to_owned() };
        let Some((kind, number)) = text.split_once(':') else {
            let known = Rounding::ALL.into_iter().find(|rounding| rounding.to_string() == text);
            return known.map(Disturbance::Rounded).ok_or_else(unknown);
        };
        let number: f64 = number.parse().map_err(|_| unknown())?;
        match kind {
            _ if !(number.is_finite() && number >= 0.0) => Err(unknown()),
            "noise" => Ok(Disturbance::Noise { norm: number }),
            "dropout" if number <= 1.0 => Ok(Disturbance::Dropout { share: number }),
            "clip" => Ok(Disturbance::Clip { times: number }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn every_word_comes_back() {
        let formats = Rounding::ALL.map(Disturbance::Rounded);
        let others = [
            Disturbance::Noise { norm: 0.25 },
            Disturbance::Dropout { share: 0.1 },
            Disturbance::Clip { times: 3.0 },
        ];
        for disturbance in formats.into_iter().chain(others) {
            assert_eq!(disturbance.to_string().parse(), Ok(disturbance));
        }
        for text in ["int8", "noise", "noise:-1", "noise:NaN", "dropout:1.5", "clip:x", "blur:1", ""] {
            assert_eq!(text.parse::<Disturbance>().unwrap_err().found, text);
        }
    }

    #[test]
    fn noise_has_its_norm_and_dropout_its_share() {
        let mut states = Array2::zeros((3, 500));
        Disturbance::Noise { norm: 2.5 }.apply(&mut states, 1);
        for state in states.rows() {
            assert!((state.dot(&state).sqrt() - 2.5).abs() < 1e-12);
        }
        let mut states = Array2::ones((20, 500));
        Disturbance::Dropout { share: 0.3 }.apply(&mut states, 2);
        // Five standard deviations of a binomial share.
        let dropped = states.iter().filter(|value| **value == 0.0).count() as f64 / 1e4;
        assert!((dropped - 0.3).abs() < 5.0 * (0.21_f64 / 1e4).sqrt(), "{dropped}");
    }

    #[test]
    fn clipping_bounds_a_state_by_its_own_size() {
        let mut states = arr2(&[[9.0, 1.0, -1.0, 1.0], [0.0; 4]]);
        Disturbance::Clip { times: 1.0 }.apply(&mut states, 0);
        let rms = (84.0_f64 / 4.0).sqrt();
        assert_eq!(states.row(0).to_vec(), [rms, 1.0, -1.0, 1.0]);
        assert_eq!(states.row(1).to_vec(), [0.0; 4]);
    }
}
