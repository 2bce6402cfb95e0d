//! The noise at one kind of position.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::{
    collisions::norm,
    median::median,
    tuning::{CALIBRATION_LEAST_SPREAD, CALIBRATION_RIDGE},
};

/// The noise at one kind of position, relative to the norm of the state.
#[derive(Clone, Debug)]
pub(crate) struct PlaceNoise {
    /// The median norm of its states.
    pub(super) typical_norm: f64,
    pub(super) loud: Loud,
    /// For each loud direction the mean of the f32 states along it, and their variance as a share of the variance with noise.
    pub(super) states_along: Vec<(f64, f64)>,
    /// The length of the noise.
    pub(crate) noise: LogNormal,
    /// The distance from the state of a token to that of the token with the nearest embedding.
    pub(crate) margin: LogNormal,
}

/// The directions of the noise.
#[derive(Clone, Debug)]
pub(super) struct Loud {
    /// Orthonormal, `[directions, d_model]` row-major.
    pub(super) directions: Vec<f64>,
    /// The variance along each, relative to the norm of the state.
    pub(super) variances: Vec<f64>,
    /// The share of the square along each that does not count.
    pub(super) damped: Vec<f64>,
}

/// A length whose logarithm is normally distributed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogNormal {
    /// The mean of the logarithm.
    pub(crate) mean: f64,
    /// The standard deviation of the logarithm.
    pub(crate) spread: f64,
}

impl LogNormal {
    /// The distribution of some lengths.
    pub(super) fn of(lengths: &[f64]) -> Option<Self> {
        let logs: Vec<f64> =
            lengths.iter().filter(|length| **length > 0.0).map(|length| length.ln()).collect();
        if logs.len() < 2 {
            return None;
        }
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (logs.len() - 1) as f64;
        Some(LogNormal { mean, spread: variance.sqrt().max(CALIBRATION_LEAST_SPREAD) })
    }

    /// Returns the median of the distribution, the exponential of the mean logarithm.
    pub(crate) fn typical(self) -> f64 {
        self.mean.exp()
    }

    /// Returns the length whose logarithm lies `deviations` standard deviations above the mean.
    pub(crate) fn above(self, deviations: f64) -> f64 {
        (self.mean + deviations * self.spread).exp()
    }

    /// Returns the number of standard deviations by which the logarithm of a length lies above the mean.
    pub(crate) fn deviations(self, length: f64) -> f64 {
        (length.ln() - self.mean) / self.spread
    }

    /// An upper bound on the probability of a length at most this.
    pub(crate) fn chance_within(self, length: f64) -> f64 {
        chance_beyond_deviations(-self.deviations(length))
    }

    /// An upper bound on the probability of a length at least this.
    pub(crate) fn chance_beyond(self, length: f64) -> f64 {
        chance_beyond_deviations(self.deviations(length))
    }
}

/// Mills' ratio, `exp(-z^2 / 2) / (z sqrt(2 pi))` at `z` standard deviations: an upper bound on the probability of more.
fn chance_beyond_deviations(z: f64) -> f64 {
    match z > 0.0 {
        true => ((-0.5 * z * z).exp() / (z * std::f64::consts::TAU.sqrt())).min(0.5),
        false => 1.0,
    }
}

impl PlaceNoise {
    /// The noise in pairs of states of the same tokens, in f32 and as the producer computes them. `twins` are pairs of f32 states
    /// of tokens with near embeddings. None if too few states are finite.
    pub(super) fn of(
        exact: &[Vec<f64>],
        produced: &[Vec<f64>],
        twins: &[(Vec<f64>, Vec<f64>)],
    ) -> Option<Self> {
        let finite = |(exact, produced): &(&Vec<f64>, &Vec<f64>)| {
            exact.iter().chain(*produced).all(|value| value.is_finite()) && norm(exact) > 0.0
        };
        let pairs: Vec<_> = exact.iter().zip(produced).filter(finite).collect();
        let noise: Vec<Vec<f64>> =
            pairs.iter().map(|(exact, produced)| relative_difference(exact, produced)).collect();
        // Each half is measured by the directions of the other, in which its own noise is not hidden.
        let half = |parity: usize| noise.iter().skip(parity).step_by(2);
        let mut lengths = Vec::with_capacity(noise.len());
        for parity in [0, 1] {
            let loud = Loud::of(&half(1 - parity).collect::<Vec<_>>())?;
            lengths.extend(half(parity).map(|x| loud.length(x)));
        }
        let loud = Loud::of(&noise.iter().collect::<Vec<_>>())?;
        let mut norms: Vec<f64> = pairs.iter().map(|(exact, _)| norm(exact)).collect();
        let typical_norm = median(&mut norms);
        let margins: Vec<f64> = twins.iter().map(|(a, b)| loud.length(&relative_difference(a, b))).collect();
        let along = |direction: &[f64], variance: f64| {
            let products: Vec<f64> = pairs.iter().map(|(exact, _)| dot(direction, exact)).collect();
            let mean = products.iter().sum::<f64>() / products.len() as f64;
            let of_states = products.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / products.len() as f64;
            (mean, of_states / (of_states + variance * typical_norm * typical_norm))
        };
        let states_along = loud.each().map(|(direction, variance)| along(direction, variance)).collect();
        Some(PlaceNoise {
            typical_norm,
            states_along,
            noise: LogNormal::of(&lengths)?,
            margin: LogNormal::of(&margins)?,
            loud,
        })
    }

    /// The length of a difference of two states.
    pub(crate) fn length(&self, difference: &[f64]) -> f64 {
        self.loud.length(difference)
    }

    pub(super) fn quietened(&self, state: &[f64]) -> Vec<f64> {
        let mut quiet = state.to_vec();
        for ((direction, _), (mean, share)) in self.loud.each().zip(&self.states_along) {
            let off = (1.0 - share) * (dot(direction, state) - mean);
            quiet.iter_mut().zip(direction).for_each(|(value, along)| *value -= off * along);
        }
        quiet
    }
}

impl Loud {
    /// The principal directions of some noise.
    fn of(noise: &[&Vec<f64>]) -> Option<Self> {
        let (count, width) = (noise.len(), noise.first()?.len());
        let samples = DMatrix::from_fn(count, width, |i, j| noise[i][j]);
        let mut by_coordinate: Vec<f64> =
            samples.column_iter().map(|column| column.norm_squared() / count as f64).collect();
        // An error of zero everywhere has no direction.
        let ridge = (CALIBRATION_RIDGE * median(&mut by_coordinate)).max(f64::MIN_POSITIVE);
        let eigen = SymmetricEigen::new(&samples * samples.transpose() / count as f64);
        let (mut directions, mut variances, mut damped) = (Vec::new(), Vec::new(), Vec::new());
        for (variance, vector) in eigen.eigenvalues.iter().zip(eigen.eigenvectors.column_iter()) {
            // A direction that loses less than a hundredth changes nothing.
            if *variance > 0.01 * ridge {
                let direction = samples.tr_mul(&vector) / (count as f64 * variance).sqrt();
                directions.extend(direction.iter());
                variances.push(*variance);
                damped.push(variance / (variance + ridge));
            }
        }
        Some(Loud { directions, variances, damped })
    }

    /// Each direction with its variance.
    fn each(&self) -> impl Iterator<Item = (&[f64], f64)> {
        let width = self.directions.len() / self.variances.len().max(1);
        self.directions.chunks(width.max(1)).zip(self.variances.iter().copied())
    }

    fn length(&self, difference: &[f64]) -> f64 {
        let whole: f64 = difference.iter().map(|value| value * value).sum();
        let along = self.directions.chunks(difference.len()).zip(&self.damped);
        let damped: f64 = along.map(|(direction, share)| share * dot(direction, difference).powi(2)).sum();
        (whole - damped).max(0.0).sqrt()
    }
}

fn relative_difference(from: &[f64], to: &[f64]) -> Vec<f64> {
    let norm = norm(from);
    from.iter().zip(to).map(|(from, to)| (to - from) / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
