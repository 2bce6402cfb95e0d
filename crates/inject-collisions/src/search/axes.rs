//! Axes along which the rows differ most.

use std::ops::Range;

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::bounds::{UNIT_F64, gamma};
use crate::{
    distance::distance,
    metric::Points,
    tuning::{AXES_ROUNDS, AXES_SAMPLE},
};

/// The number of rows read at a time.
const CHUNK: usize = 256;

/// The most partial sums of rows that are kept until they are added up.
const PARTS: usize = 1024;

/// The centre of most rows, and a scale for distances from it.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The mean of the 95 % of rows nearest to the mean of all rows. Only speed depends on it.
    pub(super) centre: Vec<f64>,
    /// A power of two that puts every row within a distance of 1 from the centre.
    pub(super) scale: f64,
}

impl Position {
    pub(super) fn of(points: &Points<'_>) -> Self {
        // A few attention sinks may be so far away that they would move the mean away from all other rows. They are left out.
        let first = lengths(points, &mean(points, |_| true));
        let near = usual(&first);
        let centre = mean(points, |row| first[row] <= near);
        let farthest = lengths(points, &centre).into_iter().fold(0.0, f64::max);
        // The factor of two ensures that rounding cannot move a row beyond 1.
        let exponent = (2.0 * farthest).log2().ceil();
        let scale = if farthest > 0.0 { (-exponent).exp2() } else { 1.0 };
        Position { centre, scale }
    }

    /// Writes one row minus the centre, scaled.
    pub(super) fn write(&self, points: &Points<'_>, row: usize, point: &mut [f64]) {
        points.write(row, point);
        point
            .iter_mut()
            .zip(&self.centre)
            .for_each(|(value, centre)| *value = (*value - centre) * self.scale);
    }
}

/// Returns the mean of the rows for which `counts` returns `true`.
fn mean(points: &Points<'_>, counts: impl Fn(usize) -> bool + Sync) -> Vec<f64> {
    let (n, d) = (points.rows.rows(), points.rows.columns());
    let sum_of = |rows: Range<usize>| {
        let (mut sum, mut point, mut count) = (vec![0.0; d], vec![0.0; d], 0);
        for row in rows.filter(|&row| counts(row)) {
            points.write(row, &mut point);
            sum.iter_mut().zip(&point).for_each(|(sum, value)| *sum += value);
            count += 1;
        }
        (sum, count)
    };
    // Collected before they are summed, so that the order of summation does not depend on the threads.
    let sums: Vec<(Vec<f64>, usize)> = parts(n, CHUNK.max(n.div_ceil(PARTS))).map(sum_of).collect();
    let (mut sum, mut count) = (vec![0.0; d], 0);
    for (more, of_part) in sums {
        sum.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        count += of_part;
    }
    sum.into_iter().map(|sum| sum / count as f64).collect()
}

/// Returns the distance of every row from a centre.
fn lengths(points: &Points<'_>, centre: &[f64]) -> Vec<f64> {
    let lengths_of = |rows: Range<usize>| {
        let mut point = vec![0.0; centre.len()];
        let length = |row| {
            points.write(row, &mut point);
            distance(&point, centre)
        };
        rows.map(length).collect::<Vec<f64>>()
    };
    parts(points.rows.rows(), CHUNK).flat_map_iter(lengths_of).collect()
}

/// Returns the length that 95 % of the rows do not exceed.
fn usual(lengths: &[f64]) -> f64 {
    let mut lengths = lengths.to_vec();
    let place = lengths.len() - 1 - lengths.len() / 20;
    *lengths.select_nth_unstable_by(place, f64::total_cmp).1
}

/// Returns `n` rows in parts of this size, each of which one thread reads.
fn parts(n: usize, size: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    (0..n.div_ceil(size)).into_par_iter().map(move |part| part * size..((part + 1) * size).min(n))
}

/// Nearly orthonormal directions, those of largest variance first.
#[derive(Clone, Debug)]
pub(super) struct Axes {
    /// One axis a row. Shape `[axis, column]`.
    pub(super) directions: DMatrix<f64>,
    /// A measured upper bound of the operator norm of `directions * directions^T - 1`.
    pub(super) skew: f64,
}

impl Axes {
    /// Returns the principal axes of a sample of the rows, by subspace iteration.
    ///
    /// # Source
    ///
    /// Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53 (2011), algorithm 4.4.
    pub(super) fn principal(points: &Points<'_>, position: &Position, count: usize) -> Self {
        let (n, d) = (points.rows.rows(), points.rows.columns());
        let sampled = n.min(AXES_SAMPLE);
        let mut sample = DMatrix::<f64>::zeros(d, sampled);
        let columns = sample.as_mut_slice().par_chunks_mut(d).enumerate();
        columns.for_each(|(place, column)| position.write(points, place * n / sampled, column));
        let transposed = sample.transpose();

        // Any start that is not orthogonal to the principal axes works.
        let start =
            |axis: usize, column: usize| (((axis * d + column) * 7919 + 13) % 10_007) as f64 / 10_007.0 - 0.5;
        let mut directions = DMatrix::from_fn(d, count, |row, column| start(column, row));
        for _ in 0..AXES_ROUNDS {
            directions = (&sample * (&transposed * &directions)).qr().q();
        }
        // The directions are rotated within their span onto the principal axes of the sample there, the longest first.
        let within = &transposed * &directions; // [sample, axis]
        let eigen = (within.transpose() * &within).symmetric_eigen();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let turned = directions * eigen.eigenvectors.select_columns(&order);
        let directions = turned.qr().q().transpose();
        let skew = skew(&directions);
        Axes { directions, skew }
    }

    /// Returns the first `count` axes. The bound on `skew` holds for them too.
    pub(super) fn first(&self, count: usize) -> Self {
        Axes { directions: self.directions.rows(0, count).into_owned(), skew: self.skew }
    }
}

/// Returns an upper bound of the operator norm of `directions * directions^T - 1`: the largest sum of a row's absolute values,
/// plus the largest possible rounding error.
fn skew(directions: &DMatrix<f64>) -> f64 {
    let (count, d) = directions.shape();
    let gram = directions * directions.transpose() - DMatrix::identity(count, count);
    let largest =
        gram.row_iter().map(|row| row.iter().map(|value| value.abs()).sum::<f64>()).fold(0.0, f64::max);
    largest + 2.0 * count as f64 * gamma(d + 2, UNIT_F64)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{Metric, StateRows};

    #[test]
    fn the_axes_are_nearly_orthonormal_and_the_first_is_the_longest() {
        let value = |(row, column): (usize, usize)| {
            ((row * 37 + column * 101) % 211) as f32 * if column == 3 { 9.0 } else { 1.0 }
        };
        let states = Array2::from_shape_fn((300, 12), value);
        let rows = StateRows::new(states.view()).unwrap();
        let points = Points::new(&rows, Metric::L2).unwrap();
        let axes = Axes::principal(&points, &Position::of(&points), 5);
        assert!(axes.skew < 1e-12, "{}", axes.skew);
        assert!(axes.directions[(0, 3)].abs() > 0.9);
    }

    #[test]
    fn the_centre_does_not_depend_on_the_number_of_threads() {
        // Of such different sizes that the order of summation changes the sum.
        let value = |(row, column): (usize, usize)| {
            ((row * 7919 + column * 101) % 10_007) as f32 * 10_f32.powi((row % 31) as i32 - 15)
        };
        let states = Array2::from_shape_fn((20 * CHUNK + 3, 6), value);
        let rows = StateRows::new(states.view()).unwrap();
        let points = Points::new(&rows, Metric::L2).unwrap();
        let centre = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Position::of(&points).centre)
        };
        assert_eq!(centre(1), centre(7));
    }

    #[test]
    fn every_scaled_row_lies_within_one_of_the_centre() {
        for size in [1e-42_f32, 1.0, 1e35] {
            let states = Array2::from_shape_fn((9, 4), |(row, column)| size * (row * 4 + column) as f32);
            let rows = StateRows::new(states.view()).unwrap();
            let points = Points::new(&rows, Metric::L2).unwrap();
            let position = Position::of(&points);
            let mut point = [0.0; 4];
            let norms = (0..9).map(|row| {
                position.write(&points, row, &mut point);
                crate::norm(&point)
            });
            let largest = norms.fold(0.0, f64::max);
            assert!((0.25..1.0).contains(&largest), "{largest}");
        }
    }
}
