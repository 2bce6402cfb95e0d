//! Products of integer rows in plain Rust.

use super::kernel::{ColumnGroups, LANES, Packed, RowStrip, STRIP, Words};

/// The number of rows whose sums are kept at once. With 256-bit vectors the sums take half of the registers.
const ROWS_AT_ONCE: usize = 4;

/// Multiplies the rows of a strip with groups of columns. The caller has checked the lengths.
pub(super) fn strip<P: Packed>(rows: RowStrip<'_>, columns: ColumnGroups<'_, P>, products: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || match rows.units.len() {
            1 => some_rows::<1, P>(rows, 0, columns, products),
            2 => some_rows::<2, P>(rows, 0, columns, products),
            count => {
                let stride = columns.units.len();
                let mut first = 0;
                while first < count {
                    some_rows::<ROWS_AT_ONCE, P>(rows, first, columns, &mut products[first * stride..]);
                    first += ROWS_AT_ONCE;
                }
            }
        },
    );
}

/// Multiplies `ROWS` rows of the strip, starting at `first`.
#[inline(always)]
fn some_rows<const ROWS: usize, P: Packed>(
    rows: RowStrip<'_>,
    first: usize,
    columns: ColumnGroups<'_, P>,
    products: &mut [f32],
) {
    let (width, stride) = (rows.pairs.len(), columns.units.len());
    let lane = rows.half * STRIP + first;
    for (group, pairs) in columns.pairs.chunks_exact(width).enumerate() {
        let sums = sums::<ROWS, P>(rows.pairs, lane, pairs);
        let places = group * LANES..(group + 1) * LANES;
        let units = &columns.units[places.clone()];
        for row in 0..ROWS {
            let (sums, row_unit) = (&sums[row], rows.units[first + row]);
            let products = &mut products[row * stride..][places.clone()];
            match columns.addends {
                // Adding zero would change no product, because a sum of zero is converted to positive zero.
                None => {
                    for lane in 0..LANES {
                        products[lane] = sums[lane] as f32 * (row_unit * units[lane]);
                    }
                }
                Some(addends) => {
                    let addends = &addends[places.clone()];
                    for lane in 0..LANES {
                        products[lane] = (sums[lane] as f32).mul_add(row_unit * units[lane], addends[lane]);
                    }
                }
            }
        }
    }
}

/// Returns the integer products of `ROWS` rows, starting at `lane` of their group, with one group of columns.
#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[inline(always)]
fn sums<const ROWS: usize, P: Packed>(rows: &[Words], lane: usize, columns: &[P]) -> [[i32; LANES]; ROWS] {
    let mut sums = [[0_i32; LANES]; ROWS];
    for (row_pairs, column_pairs) in rows.iter().zip(columns) {
        let [first, second] = column_pairs.coordinates();
        for row in 0..ROWS {
            let [a, b] = row_pairs.0[lane + row];
            let (a, b) = (i32::from(a), i32::from(b));
            for lane in 0..LANES {
                sums[row][lane] = sums[row][lane].wrapping_add(a * first[lane] + b * second[lane]);
            }
        }
    }
    sums
}
