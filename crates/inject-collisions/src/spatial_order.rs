//! Orders of rows in which each block contains rows that are near each other.

use std::ops::Range;

use crate::tuning::SPATIAL_AXES;

/// Returns an order of rows in which each block of `block` consecutive rows contains rows that are near each other. The last block
/// may be smaller.
///
/// The rows are split recursively in the middle of the axis with the widest range. Only the first 16 coordinates are considered.
///
/// # Shapes
///
/// `coordinates`: [row, `width`].
///
/// # Panics
///
/// Panics if `width` or `block` is zero.
///
/// # Example
///
/// ```
/// use inject_collisions::spatial_order::near_together;
///
/// assert_eq!(near_together(&[0.0, 9.0, 1.0, 8.0], 1, 4).len(), 4);
/// let mut first = near_together(&[0.0, 9.0, 1.0, 8.0], 1, 2)[..2].to_vec();
/// first.sort();
/// assert_eq!(first, [0, 2]);
/// ```
pub fn near_together(coordinates: &[f32], width: usize, block: usize) -> Vec<u32> {
    order(coordinates, width, block, None)
}

/// Orders rows like [`near_together`]. If labels are given, rows with the same label are consecutive, and the rows of each label
/// are ordered separately.
pub(crate) fn order(coordinates: &[f32], width: usize, block: usize, labels: Option<&[u32]>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..(coordinates.len() / width) as u32).collect();
    let split = Split { coordinates, width, block };
    match labels {
        None => split.whole(&mut order),
        Some(labels) => {
            order.sort_by_key(|&row| labels[row as usize]);
            order
                .chunk_by_mut(|&a, &b| labels[a as usize] == labels[b as usize])
                .for_each(|rows| split.whole(rows));
        }
    }
    order
}

struct Split<'a> {
    coordinates: &'a [f32],
    width: usize,
    block: usize,
}

impl Split<'_> {
    fn whole(&self, rows: &mut [u32]) {
        if rows.len() <= self.block {
            return;
        }
        let range = |axis: &usize| {
            let values = rows.iter().map(|&row| self.at(row, *axis));
            let (low, high) = values.fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(x), high.max(x)));
            high - low
        };
        let axes = 0..self.width.min(SPATIAL_AXES);
        let Some(axis) = axes.max_by(|a, b| range(a).total_cmp(&range(b))) else { return };
        let middle = rows.len().div_ceil(self.block) / 2 * self.block;
        rows.select_nth_unstable_by(middle, |&a, &b| self.at(a, axis).total_cmp(&self.at(b, axis)));
        let (left, right) = rows.split_at_mut(middle);
        rayon::join(|| self.whole(left), || self.whole(right));
    }

    fn at(&self, row: u32, axis: usize) -> f32 {
        self.coordinates[row as usize * self.width + axis]
    }
}

/// The smallest box along the first axes that contains some rows.
#[derive(Clone, Debug)]
pub(crate) struct Enclosure {
    /// The lower and upper end along each axis.
    ends: Vec<(f32, f32)>,
}

impl Enclosure {
    /// Returns the smallest box that contains the rows in this range.
    pub(crate) fn of(coordinates: &[f32], width: usize, rows: Range<usize>) -> Self {
        let mut ends = vec![(f32::MAX, f32::MIN); width.min(SPATIAL_AXES)];
        for row in rows {
            let row = &coordinates[row * width..(row + 1) * width];
            ends.iter_mut()
                .zip(row)
                .for_each(|(ends, &value)| *ends = (ends.0.min(value), ends.1.max(value)));
        }
        Enclosure { ends }
    }

    /// Returns a lower bound of the distance of any two rows of the two boxes.
    pub(crate) fn gap(&self, other: &Enclosure) -> f64 {
        let along = |(a, b): (&(f32, f32), &(f32, f32))| {
            let gap = (f64::from(a.0) - f64::from(b.1)).max(f64::from(b.0) - f64::from(a.1));
            gap.max(0.0).powi(2)
        };
        self.ends.iter().zip(&other.ends).map(along).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_contains_every_row_once(
            values in prop::collection::vec(-3_i8..3, 1..90), width in 1_usize..4, block in 1_usize..9, labelled in any::<bool>()
        ) {
            let rows = values.len() / width;
            let coordinates: Vec<f32> = values[..rows * width].iter().map(|&value| f32::from(value)).collect();
            let labels: Vec<u32> = (0..rows as u32).map(|row| row * 7 % 3).collect();
            let found = order(&coordinates, width, block, labelled.then_some(&labels[..]));
            let mut sorted = found.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..rows as u32).collect::<Vec<_>>());
            if labelled {
                prop_assert!(found.is_sorted_by_key(|&row| labels[row as usize]));
            }
        }

        #[test]
        fn no_two_rows_are_closer_than_the_gap_of_their_boxes(
            values in prop::collection::vec(-9_f32..9.0, 24..60), cut in 1_usize..5
        ) {
            let width = 3;
            let rows = values.len() / width;
            let (left, right) = (0..cut, cut..rows);
            let gap = Enclosure::of(&values, width, left.clone()).gap(&Enclosure::of(&values, width, right.clone()));
            for a in left {
                for b in right.clone() {
                    let row = |row: usize| &values[row * width..(row + 1) * width];
                    prop_assert!(crate::distance(row(a), row(b)) >= gap * (1.0 - 1e-12));
                }
            }
        }
    }
}
