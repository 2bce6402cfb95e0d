//! The density of a state under a normal distribution fitted to a sample.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::tuning::TAP_RIDGE;

/// A normal distribution with the covariance of a sample, and a share of the mean variance in every direction.
pub(super) struct Normal {
    mean: DVector<f64>,
    /// The sample without its mean, over the square root of its size: `[size, d_model]`.
    sample: DMatrix<f64>,
    ridge: f64,
    /// `ridge I + sample sample'`.
    factor: Cholesky<f64, Dyn>,
}

impl Normal {
    pub(super) fn of(samples: &[&[f64]]) -> Option<Self> {
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
    pub(super) fn log_likelihood(&self, state: &[f64]) -> f64 {
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
}
