//! The distances that a search can measure.

use crate::{
    distance::{distance, norm, sum_of_squares},
    error::CollisionError,
    resolution::Resolution,
    rows::StateRows,
};

/// A measure of the distance between two states: Euclidean or by angle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Metric {
    /// The square root of the sum of squared differences.
    #[default]
    L2,
    /// One minus the cosine of the angle between two rows, from 0 to 2.
    ///
    /// It is computed as `|a / |a| - b / |b||^2 / 2`. This is mathematically the same, and stays accurate near zero, where one
    /// minus a cosine loses all its digits.
    Cosine,
}

impl Metric {
    /// Returns the distance of two states, in f64.
    ///
    /// # Panics
    ///
    /// Panics if the states have different widths.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_collisions::Metric;
    ///
    /// assert_eq!(Metric::Cosine.distance(&[2.0_f32, 0.0], &[0.0, 3.0]), 1.0);
    /// assert_eq!(Metric::L2.distance(&[2.0_f32, 0.0], &[2.0, 3.0]), 3.0);
    /// ```
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Metric::L2 => distance(a, b),
            Metric::Cosine => cosine(a, 1.0 / norm(a), b, 1.0 / norm(b)),
        }
    }

    /// Compares a smallest distance with a noise floor, both in this metric, as [`Resolution::of`] does for L2.
    ///
    /// The factor of two in that rule relies on the triangle inequality, which cosine distances do not satisfy. Therefore both are
    /// first converted into L2 distances of unit vectors. A cosine distance of zero means that two states have the same direction,
    /// not that they are equal.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_collisions::{Metric, Resolution};
    ///
    /// // Cosine distances grow with the square of the angle.
    /// assert_eq!(Metric::Cosine.resolution(3e-9, 1e-9), Resolution::AtTheNoiseFloor);
    /// assert_eq!(Metric::Cosine.resolution(5e-9, 1e-9), Resolution::Separated);
    /// ```
    pub fn resolution(self, minimum: f64, noise_floor: impl Into<Option<f64>>) -> Resolution {
        let noise_floor = noise_floor.into().map(|floor| self.to_points(floor));
        Resolution::of(self.to_points(minimum), noise_floor)
    }

    /// Returns the L2 distance of [`Points`] that corresponds to a distance in this metric.
    pub(crate) fn to_points(self, distance: f64) -> f64 {
        match self {
            Metric::L2 => distance,
            Metric::Cosine => (2.0 * distance).sqrt(),
        }
    }
}

/// Returns the cosine distance, given for each row the factor that scales it to length one.
#[inline(always)]
fn cosine(a: &[f32], a_scale: f64, b: &[f32], b_scale: f64) -> f64 {
    let squares = sum_of_squares(
        a,
        b,
        #[inline(always)]
        |a, b| f64::from(a) * a_scale - f64::from(b) * b_scale,
    );
    squares / 2.0
}

/// The rows of a search as points whose L2 distances have the same order as the distances in the metric.
#[derive(Clone, Debug)]
pub(crate) struct Points<'a> {
    pub(crate) rows: &'a StateRows<'a>,
    metric: Metric,
    /// The factor of each row. `None` if every factor is one.
    scales: Option<Vec<f64>>,
}

impl<'a> Points<'a> {
    /// Prepares the rows for distances in `metric`.
    ///
    /// # Errors
    ///
    /// [`CollisionError::NoDirection`] for a row of zeros under [`Metric::Cosine`].
    pub(crate) fn new(rows: &'a StateRows<'a>, metric: Metric) -> Result<Self, CollisionError> {
        let mut buffer = Vec::new();
        let mut scale = |row| match norm(rows.row(row, &mut buffer)) {
            0.0 => Err(CollisionError::NoDirection { row }),
            norm => Ok(1.0 / norm),
        };
        let scales = match metric {
            Metric::L2 => None,
            Metric::Cosine => Some((0..rows.rows()).map(&mut scale).collect::<Result<_, _>>()?),
        };
        Ok(Points { rows, metric, scales })
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Writes one point. It is exact for L2. For cosines it is the rounded unit vector from which the distance is computed.
    pub(crate) fn write(&self, row: usize, point: &mut [f64]) {
        let mut buffer = Vec::new();
        let scale = self.scales.as_ref().map_or(1.0, |scales| scales[row]);
        let state = self.rows.row(row, &mut buffer);
        point.iter_mut().zip(state).for_each(|(value, state)| *value = f64::from(*state) * scale);
    }

    /// Returns the distance of two rows, computed directly in f64 from the stored numbers. It equals [`Metric::distance`].
    #[inline(always)]
    pub(crate) fn distance(&self, a: usize, b: usize, buffers: &mut [Vec<f32>; 2]) -> f64 {
        let [for_a, for_b] = buffers;
        let (row_a, row_b) = (self.rows.row(a, for_a), self.rows.row(b, for_b));
        match &self.scales {
            None => distance(row_a, row_b),
            Some(scales) => cosine(row_a, scales[a], row_b, scales[b]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_angle_keeps_its_digits() {
        // 1 - cos(x) is x^2 / 2 - x^4 / 24 + .... Computed as one minus a cosine in f64, it would have an absolute error of 1e-16.
        let x = 2_f64.powi(-20);
        let found = Metric::Cosine.distance(&[1.0, 0.0], &[1.0, x as f32]);
        assert!((found / (x.atan().powi(2) / 2.0) - 1.0).abs() < 1e-9, "{found:e}");
    }

    #[test]
    fn the_length_of_a_row_does_not_matter() {
        assert_eq!(Metric::Cosine.distance(&[3.0, 4.0], &[6.0, 8.0]), 0.0);
    }

    #[test]
    fn a_row_of_zeros_has_no_cosine() {
        let states = ndarray::arr2(&[[1.0, 0.0], [0.0, 0.0]]);
        let rows = StateRows::new(states.view()).unwrap();
        let error = Points::new(&rows, Metric::Cosine).unwrap_err();
        assert!(matches!(error, CollisionError::NoDirection { row: 1 }));
    }

    proptest! {
        #[test]
        fn the_cosine_distance_is_one_minus_the_cosine(
            pairs in prop::collection::vec((0.1_f32..10.0, -10_f32..10.0), 1..30)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assume!(norm(&b) > 0.1);
            let product: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let expected = 1.0 - product / norm(&a) / norm(&b);
            prop_assert!((Metric::Cosine.distance(&a, &b) - expected).abs() < 1e-14);
        }
    }
}
