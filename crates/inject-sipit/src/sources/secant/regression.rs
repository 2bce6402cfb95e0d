//! The guess of an embedding from all tested candidates.

use crate::{
    error::InvertError,
    sources::{OpenPosition, combination::by_spread},
    tensors::read,
    tuning::{REGRESSION_ACCURACY, REGRESSION_RIDGE, REGRESSION_STEPS},
};
use burn::tensor::{DType, Tensor, TensorData};

/// Returns the embedding that a ridge regression on all tested candidates predicts for the given state, `[1, d_model]`.
///
/// It is the affine combination of [`Combination`](crate::sources::combination::Combination), over as many candidates as there are. The
/// signal of a candidate that is unrelated to the right token is weak: in a deep model of random weights thousands of them have to be
/// added up. So many are not solved for directly. Products with their states take turns instead.
pub(super) fn guess(at: &OpenPosition<'_>) -> Result<Tensor<2>, InvertError> {
    let (wanted, sample) = (at.wanted(), at.tested.sample());
    let weights = by_spread(sample, wanted.len());
    let difference = |(value, (wanted, weight)): (&f64, (&f64, &f64))| ((value - wanted) * weight) as f32;
    let differences: Vec<f32> = sample
        .iter()
        .flat_map(|(_, state)| state.iter().zip(wanted.iter().zip(&weights)).map(difference))
        .collect();
    let decoder = at.decoder();
    let shape = [sample.len(), wanted.len()];
    let differences = Tensor::<2>::from_data(TensorData::new(differences, shape), &decoder.device());
    let shares = Tensor::<2>::from_data(shares(differences)?, &decoder.device()); // [1, tested]
    let ids: Vec<u32> = sample.iter().map(|(id, _)| *id).collect();
    let embeddings = decoder.embeddings_of(&ids).cast(DType::F32);
    Ok(shares.matmul(embeddings).cast(decoder.dtype()))
}

/// Returns the shares of the combination of rows that is closest to zero: `z / sum(z)` with `(D D' + ridge) z = 1`. Computes `z` by
/// conjugate gradients.
///
/// # Shapes
///
/// `[rows, width]` to `[1, rows]`.
///
/// # Source
///
/// Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems" (1952), section 3.
fn shares(differences: Tensor<2>) -> Result<TensorData, InvertError> {
    let [rows, _] = differences.dims();
    let device = differences.device();
    let squares: f64 = read(differences.clone().powi_scalar(2).sum_dim(1))?.iter().sum();
    let ridge = (REGRESSION_RIDGE * squares / rows as f64).max(f64::MIN_POSITIVE);
    let products = |z: &[f64]| -> Result<Vec<f64>, InvertError> {
        let data = TensorData::new(z.iter().map(|&z| z as f32).collect(), [1, rows]);
        let sum = Tensor::<2>::from_data(data, &device).matmul(differences.clone()); // [1, width]
        let products = read(differences.clone().matmul(sum.transpose()))?; // [rows, 1]
        Ok(products.iter().zip(z).map(|(product, z)| product + ridge * z).collect())
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut z = vec![0.0; rows];
    let mut rest = vec![1.0; rows];
    let mut direction = rest.clone();
    let mut square = dot(&rest, &rest);
    let enough = REGRESSION_ACCURACY.powi(2) * square;
    for _ in 0..REGRESSION_STEPS {
        let moved = products(&direction)?;
        let step = square / dot(&direction, &moved);
        if !step.is_finite() {
            break;
        }
        z.iter_mut().zip(&direction).for_each(|(z, direction)| *z += step * direction);
        rest.iter_mut().zip(&moved).for_each(|(rest, moved)| *rest -= step * moved);
        let next = dot(&rest, &rest);
        if next <= enough {
            break;
        }
        direction
            .iter_mut()
            .zip(&rest)
            .for_each(|(direction, rest)| *direction = rest + next / square * *direction);
        square = next;
    }
    let sum: f64 = z.iter().sum();
    let shares = z.iter().map(|z| (z / sum) as f32).collect();
    Ok(TensorData::new(shares, [1, rows]))
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};

    use super::*;
    use crate::states::random::SplitMix;

    #[test]
    fn shares_are_those_of_the_normal_equations() {
        let (rows, width) = (90, 40);
        let mut numbers = SplitMix::seeded(5);
        let values: Vec<f32> = (0..rows * width)
            .map(|i| numbers.below(2001) as f32 / 1e3 - 1.0 + (i % 7) as f32 / 10.0)
            .collect();
        let matrix = DMatrix::from_row_iterator(rows, width, values.iter().map(|&value| f64::from(value)));
        let mut products = &matrix * matrix.transpose();
        let ridge = REGRESSION_RIDGE * products.trace() / rows as f64;
        (0..rows).for_each(|i| products[(i, i)] += ridge);
        let expected = products.cholesky().unwrap().solve(&DVector::from_element(rows, 1.0));
        let expected = &expected / expected.sum();
        for device in inject_testing::compiled() {
            let data = TensorData::new(values.clone(), [rows, width]);
            let found = shares(Tensor::from_data(data, &device)).unwrap();
            let found = DVector::from_iterator(rows, found.iter::<f64>());
            // Conjugate gradients end at this share of the right-hand side, and the ridge bounds the inverse.
            let tolerance = REGRESSION_ACCURACY / REGRESSION_RIDGE * expected.norm();
            let apart = (&found - &expected).norm();
            assert!(apart <= tolerance, "{apart} > {tolerance}");
        }
    }
}
