//! Norms, anisotropy and intrinsic dimension.

use std::num::NonZeroUsize;

use inject_states::batches::spread_evenly;
use rayon::prelude::*;

use crate::{
    distance::{distance, norm},
    rows::StateRows,
};

/// The geometry of the states at one tap.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Geometry {
    /// The mean L2 norm of a state.
    pub mean_norm: f64,
    /// The [`anisotropy`] of all rows.
    pub anisotropy: Option<f64>,
    /// The [`intrinsic_dimension`] of a sample of the rows.
    pub intrinsic_dimension: Option<f64>,
    /// The number of rows in the sample.
    pub dimension_sample: usize,
}

impl Geometry {
    /// Measures all rows. The intrinsic dimension is measured on up to `sample` evenly spaced rows.
    pub fn of(rows: &StateRows<'_>, sample: NonZeroUsize) -> Self {
        let mut buffer = Vec::new();
        let norms = (0..rows.rows()).map(|row| norm(rows.row(row, &mut buffer)));
        let sampled: Vec<usize> = spread_evenly(rows.rows(), sample).collect();
        Geometry {
            mean_norm: norms.sum::<f64>() / rows.rows() as f64,
            anisotropy: anisotropy(rows),
            intrinsic_dimension: intrinsic_dimension(rows, &sampled),
            dimension_sample: sampled.len(),
        }
    }
}

/// Returns the mean cosine of the angle between two different rows, over all pairs. Returns `None` if fewer than two rows are
/// nonzero.
///
/// With unit vectors `u` it is `(|sum u|^2 - n) / (n (n - 1))`, which takes time proportional to the number of rows.
///
/// # Source
///
/// Ethayarajh, "How contextual are contextualized word representations?", 2019, section 3.3: the mean cosine of random states.
pub fn anisotropy(rows: &StateRows<'_>) -> Option<f64> {
    let mut sum = vec![0.0_f64; rows.columns()];
    let (mut count, mut squares) = (0.0, 0.0);
    let mut buffer = Vec::new();
    for row in 0..rows.rows() {
        let state = rows.row(row, &mut buffer);
        let length = norm(state);
        if length > 0.0 {
            let mut square = 0.0;
            for (sum, &value) in sum.iter_mut().zip(state) {
                let unit = f64::from(value) / length;
                *sum += unit;
                square += unit * unit;
            }
            squares += square;
            count += 1.0;
        }
    }
    let all: f64 = sum.iter().map(|value| value * value).sum();
    (count > 1.0).then(|| (all - squares) / (count * (count - 1.0)))
}

/// The fewest rows from which a dimension is estimated.
const FEWEST_RATIOS: usize = 25;

/// Returns the intrinsic dimension of some rows, estimated from the ratio of the distances to their second nearest and nearest
/// neighbours.
///
/// With `n` ratios `m` it is `(n - 1) / sum ln m`, the unbiased form of the maximum likelihood estimate. The distances are exact.
/// A row that equals another one has no ratio and is skipped. `None` if fewer than 25 rows are left, or all ratios are one:
/// the relative standard error is `1 / sqrt(n)`, so that of fewer rows is above 20 %.
///
/// # Source
///
/// Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
/// information", 2017 (TwoNN). The estimate is that of Denti, Doimo, Laio, Mira, "The generalized ratios intrinsic dimension
/// estimator", 2022, equation 4.
pub fn intrinsic_dimension(rows: &StateRows<'_>, sample: &[usize]) -> Option<f64> {
    let log_ratio = |&row: &usize| {
        let [mut for_a, mut for_b] = [Vec::new(), Vec::new()];
        let state = rows.row(row, &mut for_a);
        let (mut nearest, mut second) = (f64::INFINITY, f64::INFINITY);
        for &other in sample.iter().filter(|&&other| other != row) {
            let distance = distance(state, rows.row(other, &mut for_b));
            if distance < nearest {
                (nearest, second) = (distance, nearest);
            } else if distance < second {
                second = distance;
            }
        }
        (nearest > 0.0 && second < f64::INFINITY).then(|| (second / nearest).ln())
    };
    // Collected before they are summed, so that the order of summation does not depend on the threads.
    let logarithms: Vec<f64> = sample.par_iter().filter_map(log_ratio).collect();
    let sum: f64 = logarithms.iter().sum();
    (logarithms.len() >= FEWEST_RATIOS && sum > 0.0).then(|| (logarithms.len() as f64 - 1.0) / sum)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    fn uniform(seed: &mut u64) -> f32 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 40) as f32 / (1_u64 << 24) as f32
    }

    #[test]
    fn a_cube_embedded_in_a_wider_space_keeps_its_dimension() {
        let mut seed = 3;
        for dimension in [1_usize, 2, 5] {
            let cube = Array2::from_shape_simple_fn((1500, dimension), || uniform(&mut seed));
            let turn = Array2::from_shape_simple_fn((dimension, 40), || uniform(&mut seed) - 0.5);
            let states = cube.dot(&turn);
            let rows = StateRows::new(states.view()).unwrap();
            let found = intrinsic_dimension(&rows, &(0..1500).collect::<Vec<_>>()).unwrap();
            // The relative standard error of the estimate is 1/sqrt(1500). Corners and edges bias it downwards.
            let expected = dimension as f64;
            assert!((0.85 * expected..1.1 * expected).contains(&found), "{found} for {dimension}");
        }
    }

    #[test]
    fn equal_rows_have_no_dimension() {
        let states = Array2::<f32>::ones((9, 4));
        let rows = StateRows::new(states.view()).unwrap();
        assert_eq!(intrinsic_dimension(&rows, &[0, 3, 5, 7]), None);
        assert!((anisotropy(&rows).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_dimension_needs_25_rows() {
        let mut seed = 4;
        let states = Array2::from_shape_simple_fn((25, 3), || uniform(&mut seed));
        let rows = StateRows::new(states.view()).unwrap();
        assert!(intrinsic_dimension(&rows, &(0..25).collect::<Vec<_>>()).is_some());
        assert_eq!(intrinsic_dimension(&rows, &(0..24).collect::<Vec<_>>()), None);
    }

    #[test]
    fn rows_of_zeros_have_no_direction() {
        let states = ndarray::arr2(&[[0.0_f32, 0.0], [1.0, 0.0], [0.0, 0.0]]);
        assert_eq!(anisotropy(&StateRows::new(states.view()).unwrap()), None);
    }

    proptest! {
        #[test]
        fn the_anisotropy_is_the_mean_cosine_of_all_pairs(
            values in prop::collection::vec(prop::array::uniform3(-9_f32..9.0), 2..20)
        ) {
            prop_assume!(values.iter().all(|state| norm(state) > 0.0));
            let states = Array2::from_shape_fn((values.len(), 3), |(row, column)| values[row][column]);
            let mut cosines = Vec::new();
            for (i, a) in values.iter().enumerate() {
                for b in &values[..i] {
                    let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    cosines.push(product / norm(a) / norm(b));
                }
            }
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            let found = anisotropy(&StateRows::new(states.view()).unwrap()).unwrap();
            prop_assert!((found - mean).abs() < 1e-12, "{} for {}", found, mean);
        }
    }
}
