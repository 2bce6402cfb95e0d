//! Dot products of a few points with many rows, only as precise as ranking the rows requires.

#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use crate::integer_products::{
    Bytes, ColumnGroups, Kernel, LANES, Packed, RowStrip, STRIP, Words, put_row, round,
};

/// Rows rounded to 8 or 16 bits per coordinate. Multiplying all of them by a point takes a quarter or a half of the time and
/// memory that f32 takes.
///
/// The products are approximate: use them to choose a few rows, and compute the exact products of those.
///
/// # Example
///
/// ```
/// use inject_collisions::approximate_products::{Bits, QuantisedRows};
///
/// let rows = [[1.0_f32, 0.0], [0.5, 0.5], [0.0, 1.0]];
/// let read = |range: std::ops::Range<usize>| Ok::<_, std::convert::Infallible>(rows[range].as_flattened().to_vec());
/// let rows = QuantisedRows::round_portable(3, 2, Bits::Eight, read)?;
/// let points = rows.points(&[2.0, 4.0]);
/// let mut products = vec![0.0; points.rows_in(0) * QuantisedRows::padded(3)];
/// rows.multiply(&points, 0, 0..3, &mut products);
/// for (found, expected) in products.iter().zip([2.0, 3.0, 4.0]) {
///     assert!((found - expected).abs() < 0.01 * expected);
/// }
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Debug)]
pub struct QuantisedRows {
    packed: PackedRows,
    /// The unit of each row, of which its coordinates are integer multiples.
    units: Vec<f32>,
    /// A number for each row that is added to its products.
    addends: Option<Vec<f32>>,
    rows: usize,
    columns: usize,
    kernel: Kernel,
}

/// The bits of a coordinate, including the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bits {
    /// An error of at most 1/254 of the row's largest coordinate.
    Eight,
    /// An error of at most 1/32,766 of the row's length.
    Sixteen,
}

/// [group of [`LANES`] rows, pair of coordinates]
#[derive(Clone, Debug)]
enum PackedRows {
    Eight(Vec<Bytes>),
    Sixteen(Vec<Words>),
}

/// Points to multiply by rows, rounded to 16 bits. Each coordinate has an error of at most 1/32,766 of the point's length.
#[derive(Clone, Debug)]
pub struct QuantisedPoints {
    /// [group of [`LANES`] points, pair of coordinates]
    pairs: Vec<Words>,
    units: Vec<f32>,
    count: usize,
    width: usize,
}

/// Rows read at a time.
const BLOCK: usize = 64 * LANES;

impl QuantisedRows {
    /// Rounds `rows` rows of `columns` coordinates each, for the AVX-512 VNNI instructions. Returns `None` if the processor lacks
    /// them; products in f32 are then as fast.
    ///
    /// `read` returns the coordinates of consecutive rows, row after row. It is called on all threads.
    ///
    /// # Errors
    ///
    /// The errors of `read`.
    ///
    /// # Panics
    ///
    /// Panics if `read` returns a different number of coordinates than was requested.
    pub fn round<E: Send>(
        rows: usize,
        columns: usize,
        bits: Bits,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<Option<Self>, E> {
        let round = |kernel| QuantisedRows::round_for(kernel, rows, columns, bits, read);
        Kernel::accelerated().map(round).transpose()
    }

    /// Rounds rows like [`QuantisedRows::round`], for any processor. The products have the same bits.
    ///
    /// # Errors
    ///
    /// The errors of `read`.
    ///
    /// # Panics
    ///
    /// Panics if `read` returns a different number of coordinates than was requested.
    pub fn round_portable<E: Send>(
        rows: usize,
        columns: usize,
        bits: Bits,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<Self, E> {
        QuantisedRows::round_for(Kernel::Portable, rows, columns, bits, read)
    }

    fn round_for<E: Send>(
        kernel: Kernel,
        rows: usize,
        columns: usize,
        bits: Bits,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<Self, E> {
        let width = columns.div_ceil(2);
        let groups = rows.div_ceil(LANES);
        let mut units = vec![0.0; groups * LANES];
        let packed = match bits {
            Bits::Eight => {
                let mut packed = vec![[[0; 2]; LANES]; groups * width];
                pack(rows, columns, (&mut packed, &mut units), &read, round_to_bytes)?;
                PackedRows::Eight(packed)
            }
            Bits::Sixteen => {
                let mut packed = vec![Words::ZERO; groups * width];
                pack(rows, columns, (&mut packed, &mut units), &read, round_to_words)?;
                PackedRows::Sixteen(packed)
            }
        };
        Ok(QuantisedRows { packed, units, addends: None, rows, columns, kernel })
    }

    /// Returns the same rows with an addend for each, which is added to its products.
    ///
    /// # Panics
    ///
    /// Panics if the number of addends differs from the number of rows.
    pub fn plus(self, mut addends: Vec<f32>) -> Self {
        assert_eq!(addends.len(), self.rows, "expected one addend for each row");
        addends.resize(self.units.len(), 0.0);
        QuantisedRows { addends: Some(addends), ..self }
    }

    /// Returns the buffer length required for the products of one point with `rows` rows: `rows` rounded up to whole groups.
    pub const fn padded(rows: usize) -> usize {
        rows.div_ceil(LANES) * LANES
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rounds points for products with these rows. `values` holds the points one after the other.
    ///
    /// # Panics
    ///
    /// Panics if the points and the rows differ in their number of coordinates.
    pub fn points(&self, values: &[f32]) -> QuantisedPoints {
        let width = self.columns.div_ceil(2);
        assert_eq!(values.len() % self.columns.max(1), 0, "expected points of {} coordinates", self.columns);
        let count = values.len() / self.columns.max(1);
        let groups = count.div_ceil(LANES);
        let (mut pairs, mut units) = (vec![Words::ZERO; groups * width], vec![0.0; groups * LANES]);
        let mut coordinates = vec![0; 2 * width];
        for (place, (point, unit)) in values.chunks(self.columns).zip(&mut units).enumerate() {
            let group = &mut pairs[place / LANES * width..][..width];
            *unit = round_to_words(point, &mut coordinates[..self.columns]);
            put_row(group, place % LANES, &coordinates);
        }
        QuantisedPoints { pairs, units, count, width }
    }

    /// Computes the products of one strip of points with consecutive rows. The first row must be a multiple of 16.
    ///
    /// # Shapes
    ///
    /// `products`: [[`QuantisedPoints::rows_in`] the strip, [`QuantisedRows::padded`] number of rows]. The products after the
    /// last point and the last row are meaningless.
    ///
    /// # Panics
    ///
    /// Panics if the points were rounded for rows of another width, or if `products` has the wrong length.
    pub fn multiply(&self, points: &QuantisedPoints, strip: usize, rows: Range<usize>, products: &mut [f32]) {
        assert!(rows.start.is_multiple_of(LANES) && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        assert_eq!(points.width, self.columns.div_ceil(2), "expected points as wide as the rows");
        let groups = rows.start / LANES..rows.end.div_ceil(LANES);
        let places = groups.start * LANES..groups.end * LANES;
        let units = &self.units[places.clone()];
        let addends = self.addends.as_ref().map(|addends| &addends[places]);
        let part = groups.start * points.width..groups.end * points.width;
        let points = points.strip(strip);
        match &self.packed {
            PackedRows::Eight(pairs) => {
                self.kernel.strip(points, ColumnGroups { pairs: &pairs[part], units, addends }, products);
            }
            PackedRows::Sixteen(pairs) => {
                self.kernel.strip(points, ColumnGroups { pairs: &pairs[part], units, addends }, products);
            }
        }
    }
}

impl QuantisedPoints {
    /// Returns the number of strips: eight points each, the last one possibly fewer.
    pub fn strips(&self) -> usize {
        self.count.div_ceil(STRIP)
    }

    /// Returns the points of one strip.
    pub fn in_strip(&self, strip: usize) -> Range<usize> {
        strip * STRIP..self.count.min((strip + 1) * STRIP)
    }

    /// Returns the number of rows of products that a buffer needs for one strip: its points, rounded up to a power of two.
    pub fn rows_in(&self, strip: usize) -> usize {
        self.in_strip(strip).len().next_power_of_two()
    }

    fn strip(&self, strip: usize) -> RowStrip<'_> {
        RowStrip {
            pairs: &self.pairs[strip * STRIP / LANES * self.width..][..self.width],
            half: strip % (LANES / STRIP),
            units: &self.units[strip * STRIP..][..self.rows_in(strip)],
        }
    }
}

/// Reads rows block by block, rounds them and stores them in their groups.
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
        // A zero pads an odd number of coordinates.
        let mut coordinates = vec![0; 2 * width];
        for (place, (row, unit)) in values.chunks(columns).zip(units).enumerate() {
            *unit = round(row, &mut coordinates[..columns]);
            put_row(&mut packed[place / LANES * width..][..width], place % LANES, &coordinates);
        }
        Ok(())
    })
}

/// Rounds a row to 16 bits, with a length of at most 32,766 units. A product of two such rows fits into 31 bits, and one with a
/// row of bytes into 32 bits for up to 266,000 coordinates.
fn round_to_words(row: &[f32], coordinates: &mut [i16]) -> f32 {
    let mut places = coordinates.iter_mut();
    let take = |coordinate| places.next().into_iter().for_each(|place| *place = coordinate);
    round(row.iter().map(|&value| f64::from(value)), take).unit as f32
}

/// Rounds a row to bytes, with a largest coordinate of 127 or -127.
fn round_to_bytes(row: &[f32], coordinates: &mut [i16]) -> f32 {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut largest = 0.0_f32;
            for value in row {
                largest = largest.max(value.abs());
            }
            let unit = largest / f32::from(i8::MAX);
            // The unit is not normal if the row is zero, or so small that every product would be zero.
            let factor = if unit.is_normal() { unit.recip() } else { 0.0 };
            // Adding this constant rounds a small number to an integer, which is then in the low bits of the sum.
            const ROUNDS: f32 = 1.5 * (1 << 23) as f32;
            for (coordinate, value) in coordinates.iter_mut().zip(row) {
                *coordinate = (value * factor + ROUNDS).to_bits() as i16;
            }
            unit
        },
    )
}
