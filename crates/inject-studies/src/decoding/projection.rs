//! Projections onto random subspaces.

use burn::tensor::{DType, Device, Tensor, TensorData};
use inject_sipit::states::random::SplitMix;

/// An orthonormal basis of a subspace, which is drawn uniformly from all subspaces of its dimension.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    /// The vectors, each with `d_model` coordinates.
    basis: Vec<Vec<f64>>,
    /// The same vectors as columns in f32, `[d_model, dimensions]`.
    columns: Tensor<2>,
}

impl Projection {
    pub(super) fn random(d_model: usize, dimensions: usize, seed: u64, device: &Device) -> Self {
        let mut numbers = SplitMix::seeded(seed ^ (dimensions as u64).rotate_left(32));
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(dimensions);
        while basis.len() < dimensions {
            let mut vector = numbers.direction(d_model);
            // The other vectors are subtracted twice, because rounding leaves small components of them after the first time.
            for _ in 0..2 {
                for other in &basis {
                    let along = dot(&vector, other);
                    vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
                }
            }
            let length = dot(&vector, &vector).sqrt();
            // A vector almost in the span of the others is rejected. This happens only if the basis is almost complete.
            if length > 1e-6 {
                vector.iter_mut().for_each(|value| *value /= length);
                basis.push(vector);
            }
        }
        let columns: Vec<f64> =
            (0..d_model).flat_map(|row| basis.iter().map(move |vector| vector[row])).collect();
        let data = TensorData::new(columns, [d_model, dimensions]).convert_dtype(DType::F32);
        Projection { basis, columns: Tensor::from_data(data, (device, DType::F32)) }
    }

    /// Returns the squared norm of each difference after projection, in the number format of the differences.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, 1]`.
    pub(super) fn squares(&self, differences: Tensor<2>) -> Tensor<2> {
        let columns = self.columns.clone().cast(differences.dtype());
        differences.matmul(columns).powi_scalar(2).sum_dim(1)
    }

    /// Returns the norm of one difference after projection, in f64.
    pub(super) fn norm(&self, difference: &[f64]) -> f64 {
        self.basis.iter().map(|vector| dot(vector, difference).powi(2)).sum::<f64>().sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_orthonormal_and_both_ways_agree() {
        for device in inject_testing::compiled() {
            for dimensions in [1, 5, 12] {
                let projection = Projection::random(12, dimensions, 7, &device);
                for (i, a) in projection.basis.iter().enumerate() {
                    for (j, b) in projection.basis.iter().enumerate() {
                        assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-12);
                    }
                }
                let difference: Vec<f64> = (0..12).map(|i| f64::from(i) - 4.0).collect();
                let data = TensorData::new(difference.clone(), [1, 12]).convert_dtype(DType::F32);
                let squares = projection.squares(Tensor::from_data(data, (&device, DType::F32)));
                let square = squares.into_data().try_to_vec::<f32>().unwrap()[0];
                let expected = projection.norm(&difference);
                assert!((f64::from(square).sqrt() - expected).abs() < 1e-5 * expected);
                if dimensions == 12 {
                    assert!((expected - dot(&difference, &difference).sqrt()).abs() < 1e-12 * expected);
                }
            }
        }
    }
}
