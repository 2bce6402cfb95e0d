//! Products of a few points with many rows, where their order matters and their last digits do not.

use std::ops::Range;

use rayon::prelude::*;

use crate::whole_numbers::{Bytes, Columns, Kernel, LANES, Lanes, Packed, Rows, STRIP, put_row, round};

/// Rows in so few digits that a product with all of them takes a half or a quarter of the time and memory that it takes in f32.
///
/// What is found so is a proposal: whoever needs the numbers themselves computes those of the few rows that matter.
///
/// # Example
///
/// ```
/// use inject_collisions::{CoarseRows, Digits};
///
/// let rows = [[1.0_f32, 0.0], [0.5, 0.5], [0.0, 1.0]];
/// let read = |range: std::ops::Range<usize>| Ok::<_, std::convert::Infallible>(rows[range].as_flattened().to_vec());
/// // Without the instructions for it, the rows are as well left in f32.
/// let Some(rows) = CoarseRows::round(3, 2, Digits::Eight, read)? else { return Ok(()) };
/// let points = rows.points(&[2.0, 4.0]);
/// let mut products = vec![0.0; points.rows_in(0) * CoarseRows::padded(3)];
/// rows.multiply(&points, 0, 0..3, &mut products);
/// for (found, expected) in products.iter().zip([2.0, 3.0, 4.0]) {
///     assert!((found - expected).abs() < 0.01 * expected);
/// }
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Debug)]
pub struct CoarseRows {
    packed: PackedRows,
    /// What the whole numbers of each row are multiplied by.
    units: Vec<f32>,
    /// What is added to each row's products, if anything is.
    addends: Option<Vec<f32>>,
    rows: usize,
    columns: usize,
    kernel: Kernel,
}

/// Binary digits of a coordinate, one of them for its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// Off by 1/254 of the row's largest coordinate at most.
    Eight,
    /// Off by 1/32,766 of the row's length at most.
    Sixteen,
}

/// [group of [`LANES`] rows, pair of coordinates]
#[derive(Clone, Debug)]
enum PackedRows {
    Eight(Vec<Bytes>),
    Sixteen(Vec<Lanes>),
}

/// Points that rows are multiplied with: off by 1/32,766 of their length in a coordinate at most.
#[derive(Clone, Debug)]
pub struct CoarsePoints {
    /// [group of [`LANES`] points, pair of coordinates]
    lanes: Vec<Lanes>,
    units: Vec<f32>,
    count: usize,
    width: usize,
}

/// Rows read at a time.
const BLOCK: usize = 64 * LANES;

impl CoarseRows {
    /// Rounds `rows` rows of `columns` coordinates each; `read` gives the coordinates of consecutive rows, one row after the other, and is
    /// called on all threads. `None` where the processor has no instruction (AVX-512 VNNI) that would make it worthwhile.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    ///
    /// # Panics
    ///
    /// If `read` gives another number of coordinates than it was asked for.
    pub fn round<E: Send>(
        rows: usize,
        columns: usize,
        digits: Digits,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<Option<Self>, E> {
        let Some(kernel) = Kernel::detect() else { return Ok(None) };
        let width = columns.div_ceil(2);
        let groups = rows.div_ceil(LANES);
        let mut units = vec![0.0; groups * LANES];
        let packed = match digits {
            Digits::Eight => {
                let mut packed = vec![[[0; 2]; LANES]; groups * width];
                pack(rows, columns, (&mut packed, &mut units), &read, round_to_bytes)?;
                PackedRows::Eight(packed)
            }
            Digits::Sixteen => {
                let mut packed = vec![Lanes::ZERO; groups * width];
                pack(rows, columns, (&mut packed, &mut units), &read, round_to_words)?;
                PackedRows::Sixteen(packed)
            }
        };
        Ok(Some(CoarseRows { packed, units, addends: None, rows, columns, kernel }))
    }

    /// The same rows, each with a number that is added to its products.
    ///
    /// # Panics
    ///
    /// If there are not as many numbers as rows.
    pub fn plus(self, mut addends: Vec<f32>) -> Self {
        assert_eq!(addends.len(), self.rows, "a number for each row");
        addends.resize(self.units.len(), 0.0);
        CoarseRows { addends: Some(addends), ..self }
    }

    /// How many products there are room for where so many rows are asked for: rows come in groups.
    pub const fn padded(rows: usize) -> usize {
        rows.div_ceil(LANES) * LANES
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Makes points ready to be multiplied, one after the other in `values`.
    ///
    /// # Panics
    ///
    /// If they have another number of coordinates than the rows.
    pub fn points(&self, values: &[f32]) -> CoarsePoints {
        let width = self.columns.div_ceil(2);
        assert_eq!(values.len() % self.columns.max(1), 0, "points of {} coordinates", self.columns);
        let count = values.len() / self.columns.max(1);
        let groups = count.div_ceil(LANES);
        let (mut lanes, mut units) = (vec![Lanes::ZERO; groups * width], vec![0.0; groups * LANES]);
        let mut numbers = vec![0; 2 * width];
        for (place, (point, unit)) in values.chunks(self.columns).zip(&mut units).enumerate() {
            let lanes = &mut lanes[place / LANES * width..][..width];
            *unit = round_to_words(point, &mut numbers[..self.columns]);
            put_row(lanes, place % LANES, &numbers);
        }
        CoarsePoints { lanes, units, count, width }
    }

    /// The products of one strip of points with consecutive rows, of which the first is the first of a group of 16.
    ///
    /// # Shapes
    ///
    /// `products`: [[`CoarsePoints::rows_in`] the strip, [`CoarseRows::padded`] number of rows]. What stands behind the last point and
    /// the last row means nothing.
    ///
    /// # Panics
    ///
    /// If the points were made for rows of another width, or the lengths do not belong together.
    pub fn multiply(&self, points: &CoarsePoints, strip: usize, rows: Range<usize>, products: &mut [f32]) {
        assert!(rows.start.is_multiple_of(LANES) && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        assert_eq!(points.width, self.columns.div_ceil(2), "points as wide as the rows");
        let groups = rows.start / LANES..rows.end.div_ceil(LANES);
        let places = groups.start * LANES..groups.end * LANES;
        let units = &self.units[places.clone()];
        let addends = self.addends.as_ref().map(|addends| &addends[places]);
        let part = groups.start * points.width..groups.end * points.width;
        let points = points.strip(strip);
        match &self.packed {
            PackedRows::Eight(lanes) => {
                self.kernel.strip(points, Columns { lanes: &lanes[part], units, addends }, products);
            }
            PackedRows::Sixteen(lanes) => {
                self.kernel.strip(points, Columns { lanes: &lanes[part], units, addends }, products);
            }
        }
    }
}

impl CoarsePoints {
    /// How many strips they make.
    pub fn strips(&self) -> usize {
        self.count.div_ceil(STRIP)
    }

    /// The points of one strip.
    pub fn in_strip(&self, strip: usize) -> Range<usize> {
        strip * STRIP..self.count.min((strip + 1) * STRIP)
    }

    /// How many rows of products there are room for with one strip: a power of two.
    pub fn rows_in(&self, strip: usize) -> usize {
        self.in_strip(strip).len().next_power_of_two()
    }

    fn strip(&self, strip: usize) -> Rows<'_> {
        Rows {
            lanes: &self.lanes[strip * STRIP / LANES * self.width..][..self.width],
            half: strip % (LANES / STRIP),
            units: &self.units[strip * STRIP..][..self.rows_in(strip)],
        }
    }
}

/// Reads rows block by block, rounds them and puts them where they belong.
fn pack<P: Packed + Send, E: Send>(
    rows: usize,
    columns: usize,
    (packed, units): (&mut [P], &mut [f32]),
    read: &(impl Fn(Range<usize>) -> Result<Vec<f32>, E> + Sync),
    round: impl Fn(&[f32], &mut [i16]) -> f32 + Sync,
) -> Result<(), E> {
    let width = columns.div_ceil(2);
    let blocks = packed.par_chunks_mut((BLOCK / LANES * width).max(1)).zip(units.par_chunks_mut(BLOCK));
    blocks.enumerate().try_for_each(|(block, (packed, units))| {
        let range = block * BLOCK..rows.min((block + 1) * BLOCK);
        let values = read(range.clone())?;
        assert_eq!(values.len(), range.len() * columns, "rows {range:?} of {columns} coordinates");
        // A zero stands behind an odd number of coordinates.
        let mut numbers = vec![0; 2 * width];
        for (place, (row, unit)) in values.chunks(columns).zip(units).enumerate() {
            *unit = round(row, &mut numbers[..columns]);
            put_row(&mut packed[place / LANES * width..][..width], place % LANES, &numbers);
        }
        Ok(())
    })
}

/// A row of 16-bit numbers, of length 32,766 at most: two of them have a product of 31 bits, and one of them with a row of bytes has one
/// of 32 bits for up to 266,000 coordinates.
fn round_to_words(row: &[f32], numbers: &mut [i16]) -> f32 {
    let mut places = numbers.iter_mut();
    let take = |number| places.next().into_iter().for_each(|place| *place = number);
    round(row.iter().map(|&value| f64::from(value)), take).unit as f32
}

/// A row of bytes, the largest of them 127 or -127.
fn round_to_bytes(row: &[f32], numbers: &mut [i16]) -> f32 {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut largest = 0.0_f32;
            for value in row {
                largest = largest.max(value.abs());
            }
            let unit = largest / f32::from(i8::MAX);
            // Nothing but zeros, or numbers so small that a product would be zero.
            let factor = if unit.is_normal() { unit.recip() } else { 0.0 };
            // Added to this, a small number is rounded to a whole one, which the low bits of the sum then are.
            const ROUNDS: f32 = 1.5 * (1 << 23) as f32;
            for (number, value) in numbers.iter_mut().zip(row) {
                *number = (value * factor + ROUNDS).to_bits() as i16;
            }
            unit
        },
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use inject_states::random::SplitMix;
    use proptest::prelude::*;

    use super::*;

    fn draw(count: usize, numbers: &mut SplitMix) -> Vec<f32> {
        (0..count).map(|_| (numbers.below(2_000_001) as f32 - 1e6) / 1e6).collect()
    }

    /// All products, in f32 of few digits and in f64, and how far they may lie apart.
    fn check(rows: usize, columns: usize, points: usize, digits: Digits, scale: f32) {
        let mut numbers = SplitMix::seeded((rows * columns + points) as u64);
        let values = draw(rows * columns, &mut numbers);
        let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
        let read = |range: Range<usize>| {
            Ok::<_, Infallible>(values[range.start * columns..range.end * columns].to_vec())
        };
        let Ok(Some(coarse)) = CoarseRows::round(rows, columns, digits, read) else {
            println!("skipped: this processor multiplies no whole numbers");
            return;
        };
        let exact = draw(points * columns, &mut numbers);
        let added = draw(rows, &mut numbers);
        let coarse = coarse.plus(added.clone());
        let placed = coarse.points(&exact);
        let mut seen = 0;
        for strip in 0..placed.strips() {
            // From the second group on, where there is one.
            let part = LANES.min(rows - 1) / LANES * LANES..rows;
            let room = CoarseRows::padded(part.len());
            let mut products = vec![f32::NAN; placed.rows_in(strip) * room];
            coarse.multiply(&placed, strip, part.clone(), &mut products);
            for (place, point) in placed.in_strip(strip).enumerate() {
                let point = &exact[point * columns..][..columns];
                for (row, &found) in part.clone().zip(&products[place * room..]) {
                    let added = f64::from(added[row]);
                    let row = &values[row * columns..][..columns];
                    let product: f64 =
                        row.iter().zip(point).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let of_row = match digits {
                        Digits::Eight => row.iter().fold(0.0, |most, value| value.abs().max(most)) / 254.0,
                        Digits::Sixteen => crate::norm(row) as f32 / 32_766.0,
                    };
                    // Each factor is off by its share in every coordinate, and the product is rounded thrice.
                    let root = (columns as f64).sqrt();
                    let (of_row, of_point) = (f64::from(of_row) * root, crate::norm(point) / 32_766.0 * root);
                    let bound = of_row * (crate::norm(point) + of_point) + crate::norm(row) * of_point;
                    let rounding = (product.abs() + added.abs()) * 3e-7;
                    assert!(
                        (f64::from(found) - product - added).abs() <= bound * 1.001 + rounding,
                        "{rows} rows of {columns}, {points} points, {digits:?}: {found}, expected {product} + {added} within {bound}"
                    );
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, points * (rows - LANES.min(rows - 1) / LANES * LANES));
    }

    proptest! {
        #[test]
        fn products_are_as_good_as_their_digits(
            rows in 1_usize..80, columns in 1_usize..70, points in 1_usize..20, exponent in -20_i32..20,
        ) {
            for digits in [Digits::Eight, Digits::Sixteen] {
                check(rows, columns, points, digits, 2_f32.powi(exponent));
            }
        }
    }

    #[test]
    fn many_rows_come_in_several_blocks() {
        check(3 * BLOCK - 5, 3, 9, Digits::Eight, 1.0);
        check(3 * BLOCK - 5, 3, 9, Digits::Sixteen, 1.0);
    }

    #[test]
    fn rows_of_nothing_have_products_of_nothing() {
        for digits in [Digits::Eight, Digits::Sixteen] {
            let read = |range: Range<usize>| Ok::<_, Infallible>(vec![0.0; 3 * range.len()]);
            let Ok(Some(rows)) = CoarseRows::round(2, 3, digits, read) else { return };
            let points = rows.points(&[1.0, 2.0, 3.0]);
            let mut products = vec![f32::NAN; LANES];
            rows.multiply(&points, 0, 0..2, &mut products);
            assert_eq!(products[..2], [0.0; 2]);
        }
    }

    #[test]
    fn what_reading_fails_with_is_given_on() {
        let read = |range: Range<usize>| {
            if range.contains(&2000) { Err("gone") } else { Ok(vec![0.0; range.len()]) }
        };
        match CoarseRows::round(5000, 1, Digits::Eight, read) {
            Err(error) => assert_eq!(error, "gone"),
            Ok(rows) => assert!(rows.is_none()),
        }
    }
}
