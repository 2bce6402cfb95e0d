//! Rows on grids: the coordinates of a row are integer multiples of its unit.

use rayon::prelude::*;

use super::{
    bounds::{UNIT_F32, UNIT_F64},
    products::Tile,
};
use crate::integer_products::{ColumnGroups, Kernel, LANES, Rounded, RowStrip, STRIP, Words, put_row, round};

/// Rows on grids, in blocks of equal size, and the kernel that multiplies them.
#[derive(Debug)]
pub(super) struct Grid {
    /// [block, group of [`LANES`] rows, pair of coordinates].
    pairs: Vec<Words>,
    /// The unit of each row.
    units: Vec<f32>,
    /// The number of rows in a block.
    block: usize,
    /// Pairs of coordinates a row.
    width: usize,
    kernel: Kernel,
}

impl Grid {
    /// The error of a product, as a share of the product of the two lengths. The only rounding is one to f32.
    pub(super) const PRODUCT_ERROR: f64 = UNIT_F32 + UNIT_F64;

    /// Rounds every row to its grid. Returns an upper bound of the distance by which each was moved.
    ///
    /// # Shapes
    ///
    /// `rows`: [row, coordinate]. The number of rows is a multiple of `block`, which is a multiple of [`LANES`].
    pub(super) fn round(rows: &mut [f32], columns: usize, block: usize, kernel: Kernel) -> (Self, Vec<f64>) {
        let width = columns.div_ceil(2);
        let mut pairs = vec![Words::ZERO; rows.len() / columns / LANES * width];
        let groups = pairs.par_chunks_mut(width).zip(rows.par_chunks_mut(LANES * columns));
        let round_group = |(group, rows): (&mut [Words], &mut [f32])| -> Vec<Rounded> {
            let round_row = |(lane, row): (usize, &mut [f32])| {
                let mut numbers = Vec::with_capacity(2 * width);
                let exact = row.iter().map(|&value| f64::from(value));
                let rounded = round(exact, |number| numbers.push(number));
                let points = numbers.iter().map(|&number| (f64::from(number) * rounded.unit) as f32);
                row.iter_mut().zip(points).for_each(|(value, point)| *value = point);
                numbers.resize(2 * width, 0);
                put_row(group, lane, &numbers);
                rounded
            };
            rows.chunks_mut(columns).enumerate().map(round_row).collect()
        };
        let rounded: Vec<Rounded> = groups.flat_map_iter(round_group).collect();
        let units = rounded.iter().map(|rounded| rounded.unit as f32).collect();
        let moved = rounded.iter().map(|rounded| rounded.moved).collect();
        (Grid { pairs, units, block, width, kernel }, moved)
    }

    /// Computes the products of [`STRIP`] rows of a tile with all its columns.
    ///
    /// # Shapes
    ///
    /// `products`: [[`STRIP`], column].
    pub(super) fn strip(&self, tile: Tile, strip: usize, products: &mut [f32]) {
        let first = tile.row_block * self.block + strip * STRIP;
        let rows = RowStrip {
            pairs: &self.pairs[first / LANES * self.width..][..self.width],
            half: strip % (LANES / STRIP),
            units: &self.units[first..][..STRIP],
        };
        let first = tile.column_block * self.block;
        let columns = ColumnGroups {
            pairs: &self.pairs[first / LANES * self.width..][..self.block / LANES * self.width],
            units: &self.units[first..][..self.block],
            addends: None,
        };
        self.kernel.strip(rows, columns, products);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_on_grids_lie_where_they_say_and_their_products_are_exact(
            values in prop::collection::vec(-1_f32..1.0, 2 * 16 * 3), exponents in prop::collection::vec(-40_i32..1, 2 * 16),
        ) {
            let columns = 3;
            let scale = |place: usize| 2_f32.powi(exponents[place / columns]);
            let before: Vec<f32> = values.iter().enumerate().map(|(place, value)| value * scale(place)).collect();
            let mut rows = before.clone();
            let (grid, moved) = Grid::round(&mut rows, columns, 16, Kernel::Portable);
            let row = |rows: &[f32], row: usize| rows[row * columns..][..columns].to_vec();
            for (place, moved) in moved.iter().enumerate() {
                let (exact, rounded) = (row(&before, place), row(&rows, place));
                prop_assert!(crate::distance(&exact, &rounded) <= *moved);
                prop_assert!(*moved <= 1e-4 * crate::norm(&exact).max(1e-10));
            }
            let grids = Kernel::all().into_iter().map(|kernel| Grid { pairs: grid.pairs.clone(), units: grid.units.clone(), kernel, ..grid });
            for grid in grids {
                let mut products = vec![0.0; STRIP * 16];
                for strip in 0..2 {
                    grid.strip(Tile { row_block: 1, column_block: 0 }, strip, &mut products);
                    for (place, &product) in products.iter().enumerate() {
                        let (a, b) = (16 + strip * STRIP + place / 16, place % 16);
                        let pairs = row(&rows, a).into_iter().zip(row(&rows, b));
                        let exact: f64 = pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                        prop_assert_eq!(product, exact as f32);
                    }
                }
            }
        }
    }
}
