//! The kernels and the memory layout of their operands.

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::vnni;

/// The number of rows in a group. Their coordinates are interleaved in memory.
pub(crate) const LANES: usize = 16;
/// The number of rows that are multiplied with all columns at a time. Their sums fill the registers.
pub(crate) const STRIP: usize = 8;

/// Two 16-bit coordinates of each row of a group, aligned to the 64 bytes of one vector.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Words(pub(super) [[i16; 2]; LANES]);

impl Words {
    pub(crate) const ZERO: Words = Words([[0; 2]; LANES]);
}

/// Two 8-bit coordinates of each row of a group. A plain array, because zeroed memory for plain arrays is allocated without
/// being written, and tables of a whole vocabulary are large.
pub(crate) type Bytes = [[i8; 2]; LANES];

/// An implementation of products of integer rows. All of them return the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Plain Rust, compiled for the instructions that the processor has.
    Portable,
    /// `vpdpwssd` of AVX-512 VNNI: twice the rate of products in f32.
    #[cfg(target_arch = "x86_64")]
    Vnni(vnni::Detected),
}

impl Kernel {
    /// Returns the kernel that uses special instructions, if the processor has them.
    pub(crate) fn accelerated() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return vnni::Detected::new().map(Kernel::Vnni);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Returns every kernel that runs on this processor.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        std::iter::once(Kernel::Portable).chain(Kernel::accelerated()).collect()
    }

    /// Multiplies the rows of a strip with groups of columns.
    ///
    /// # Shapes
    ///
    /// `products`: [row of the strip, column].
    ///
    /// # Panics
    ///
    /// Panics if the lengths are inconsistent.
    pub(crate) fn strip<P: Packed>(
        self,
        rows: RowStrip<'_>,
        columns: ColumnGroups<'_, P>,
        products: &mut [f32],
    ) {
        let groups = columns.units.len() / LANES;
        assert!(matches!(rows.units.len(), 1 | 2 | 4 | STRIP), "one unit for each row");
        assert!(rows.half < LANES / STRIP, "the lower or the upper half of a group");
        assert_eq!(columns.units.len(), groups * LANES, "one unit for each column");
        let addends_fit = columns.addends.is_none_or(|addends| addends.len() == columns.units.len());
        assert!(addends_fit, "one addend for each column");
        assert_eq!(columns.pairs.len(), groups * rows.pairs.len(), "columns as wide as the rows");
        assert_eq!(products.len(), rows.units.len() * groups * LANES, "one product for each row and column");
        match self {
            Kernel::Portable => portable::strip(rows, columns, products),
            #[cfg(target_arch = "x86_64")]
            Kernel::Vnni(detected) => P::strip_vnni(detected, rows, columns, products),
        }
    }
}

/// The lower or upper half of a group of rows, or the first one, two or four rows of that half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowStrip<'a> {
    /// The group: \[pair of coordinates\].
    pub(crate) pairs: &'a [Words],
    /// 0 for the lower [`STRIP`] rows of the group, 1 for the upper.
    pub(crate) half: usize,
    /// The unit of each row: its coordinates are integer multiples of it.
    pub(crate) units: &'a [f32],
}

/// Groups of the rows that a strip is multiplied with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnGroups<'a, P> {
    /// The coordinates, two to a word. Shape `[group, pair of coordinates]`.
    pub(crate) pairs: &'a [P],
    /// The unit of each column: its coordinates are integer multiples of it.
    pub(crate) units: &'a [f32],
    /// A number for each column that is added to its products.
    pub(crate) addends: Option<&'a [f32]>,
}

/// A layout of two coordinates of each row of a group: [`Words`] or [`Bytes`].
pub(crate) trait Packed: Copy + Sync {
    /// Stores two coordinates of one row, in as many bits as the layout has.
    fn put(&mut self, lane: usize, pair: [i16; 2]);

    /// Returns the first and the second coordinate of every row of the group.
    fn coordinates(&self) -> [[i32; LANES]; 2];

    /// Computes the products by AVX-512 VNNI. The caller has checked the lengths.
    #[cfg(target_arch = "x86_64")]
    fn strip_vnni(
        detected: vnni::Detected,
        rows: RowStrip<'_>,
        columns: ColumnGroups<'_, Self>,
        products: &mut [f32],
    );
}

/// Stores the coordinates of a row, an even number of them, in one lane of its group.
pub(crate) fn put_row<P: Packed>(group: &mut [P], lane: usize, coordinates: &[i16]) {
    let (pairs, _) = coordinates.as_chunks();
    group.iter_mut().zip(pairs).for_each(|(packed, &pair)| packed.put(lane, pair));
}

impl Packed for Words {
    fn put(&mut self, lane: usize, pair: [i16; 2]) {
        self.0[lane] = pair;
    }

    #[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
    #[inline(always)]
    fn coordinates(&self) -> [[i32; LANES]; 2] {
        let mut sides = [[0; LANES]; 2];
        for lane in 0..LANES {
            sides[0][lane] = i32::from(self.0[lane][0]);
            sides[1][lane] = i32::from(self.0[lane][1]);
        }
        sides
    }

    #[cfg(target_arch = "x86_64")]
    fn strip_vnni(
        detected: vnni::Detected,
        rows: RowStrip<'_>,
        columns: ColumnGroups<'_, Self>,
        products: &mut [f32],
    ) {
        vnni::of_words(detected, rows, columns, products);
    }
}

impl Packed for Bytes {
    fn put(&mut self, lane: usize, pair: [i16; 2]) {
        self[lane] = pair.map(|coordinate| coordinate as i8);
    }

    #[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
    #[inline(always)]
    fn coordinates(&self) -> [[i32; LANES]; 2] {
        let mut sides = [[0; LANES]; 2];
        for lane in 0..LANES {
            sides[0][lane] = i32::from(self[lane][0]);
            sides[1][lane] = i32::from(self[lane][1]);
        }
        sides
    }

    #[cfg(target_arch = "x86_64")]
    fn strip_vnni(
        detected: vnni::Detected,
        rows: RowStrip<'_>,
        columns: ColumnGroups<'_, Self>,
        products: &mut [f32],
    ) {
        vnni::of_bytes(detected, rows, columns, products);
    }
}

#[cfg(test)]
mod tests {
    use inject_states::random::SplitMix;

    use super::*;

    /// Returns the products, each summed in 64 bits, where nothing can overflow.
    fn oracle<P: Packed>(rows: RowStrip<'_>, columns: ColumnGroups<'_, P>) -> Vec<f32> {
        let (width, stride) = (rows.pairs.len(), columns.units.len());
        let product = |place: usize| {
            let (row, column) = (place / stride, place % stride);
            let pairs = rows.pairs.iter().zip(&columns.pairs[column / LANES * width..]);
            let of_pair = |(row_pair, column_pair): (&Words, &P)| -> i64 {
                let [a, b] = row_pair.0[rows.half * STRIP + row].map(i64::from);
                let [c, d] = column_pair.coordinates().map(|side| i64::from(side[column % LANES]));
                a * c + b * d
            };
            let unit = rows.units[row] * columns.units[column];
            let addend = columns.addends.map_or(0.0, |addends| addends[column]);
            (pairs.map(of_pair).sum::<i64>() as f32).mul_add(unit, addend)
        };
        (0..rows.units.len() * stride).map(product).collect()
    }

    /// Compares every kernel with the oracle on strips of every size.
    fn check<P: Packed>(largest_column: i64, pack: impl Fn([[i16; 2]; LANES]) -> P) {
        let mut numbers = SplitMix::seeded(1);
        for (width, groups) in [(1, 1), (3, 2), (33, 5), (288, 4)] {
            // The largest coordinates for which a sum of that many products fits into 32 bits.
            let largest = ((1 << 30) as f64 / (2 * width) as f64).sqrt().min(32_767.0) as i64;
            let mut draw = |largest: i64| -> [[i16; 2]; LANES] {
                let mut number = || (numbers.below(2 * largest as u64 + 1) as i64 - largest) as i16;
                std::array::from_fn(|_| [number(), number()])
            };
            let rows: Vec<Words> = (0..width).map(|_| Words(draw(largest))).collect();
            let columns: Vec<P> =
                (0..groups * width).map(|_| pack(draw(largest.min(largest_column)))).collect();
            let units: Vec<f32> = (0..groups * LANES).map(|place| 0.5_f32.powi(place as i32 % 9)).collect();
            let added: Vec<f32> = (0..groups * LANES).map(|place| place as f32).collect();
            for (half, count, addends) in [
                (0, STRIP, None),
                (1, STRIP, Some(&added[..])),
                (0, 1, None),
                (1, 2, Some(&added[..])),
                (0, 4, None),
            ] {
                let rows = RowStrip { pairs: &rows, half, units: &units[..count] };
                let columns = ColumnGroups { pairs: &columns, units: &units, addends };
                let expected: Vec<u32> = oracle(rows, columns).into_iter().map(f32::to_bits).collect();
                for kernel in Kernel::all() {
                    let mut found = vec![f32::NAN; count * groups * LANES];
                    kernel.strip(rows, columns, &mut found);
                    let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
                    assert_eq!(found, expected, "{kernel:?}: {count} rows, {width} pairs, {groups} groups");
                }
            }
        }
    }

    #[test]
    fn every_kernel_has_the_bits_of_the_oracle() {
        check(32_767, Words);
        check(127, |pairs| pairs.map(|pair| pair.map(|coordinate| coordinate as i8)));
    }

    #[test]
    fn the_largest_products_that_rounding_allows_do_not_overflow() {
        // Two rows of length 32,767 with a single nonzero coordinate, of equal and of opposite sign.
        for sign in [1, -1] {
            let mut row = Words::ZERO;
            let mut column = Words::ZERO;
            row.0[0] = [32_767, 0];
            column.0 = [[sign * 32_767, 0]; LANES];
            let rows = RowStrip { pairs: &[row], half: 0, units: &[1.0] };
            let columns = ColumnGroups { pairs: &[column], units: &[1.0; LANES], addends: None };
            for kernel in Kernel::all() {
                let mut found = [0.0; LANES];
                kernel.strip(rows, columns, &mut found);
                assert_eq!(found, [f32::from(sign) * (32_767.0 * 32_767.0_f64) as f32; LANES], "{kernel:?}");
            }
        }
    }
}
