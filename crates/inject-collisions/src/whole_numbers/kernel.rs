//! Products of rows of whole numbers, by the instruction that processors have for them.

/// Rows that lie side by side in memory.
pub(crate) const LANES: usize = 16;
/// Rows that are multiplied with all rows of a block at a time: as many as there are registers for.
pub(crate) const STRIP: usize = 8;

/// Two coordinates of each of sixteen rows, the first of the two in the lower half.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0; LANES]);

    /// Two coordinates as one lane has them.
    pub(crate) fn pair(first: i16, second: i16) -> i32 {
        i32::from(first) & 0xffff | i32::from(second) << 16
    }
}

/// The same in a byte a coordinate. Plain numbers, so that a table of zeros takes no time: tables of a whole vocabulary are large.
pub(crate) type Bytes = [[i8; 2]; LANES];

/// The proof that this processor multiplies 16-bit numbers and adds them up in 32 bits (AVX-512 VNNI).
///
/// Such a product does twice the work of one in f32 in the same time, and is exact as long as no sum leaves 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel(());

impl Kernel {
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Some(Kernel(()));
        }
        None
    }

    /// Multiplies half a group of rows, or the first few of the half, with groups of columns.
    ///
    /// # Shapes
    ///
    /// `products`: [row of the half, column].
    ///
    /// # Panics
    ///
    /// If the lengths do not belong together.
    pub(crate) fn strip<P: Packed>(self, rows: Rows<'_>, columns: Columns<'_, P>, products: &mut [f32]) {
        let groups = columns.units.len() / LANES;
        assert!(matches!(rows.units.len(), 1 | 2 | 4 | STRIP), "a unit for each row");
        assert!(rows.half < LANES / STRIP, "one half or the other");
        assert_eq!(columns.units.len(), groups * LANES, "a unit for each column");
        assert!(
            columns.addends.is_none_or(|addends| addends.len() == columns.units.len()),
            "an addend for each"
        );
        assert_eq!(columns.lanes.len(), groups * rows.lanes.len(), "columns as wide as the rows");
        assert_eq!(products.len(), rows.units.len() * groups * LANES, "a product for each row and column");
        P::strip(self, rows, columns, products);
    }
}

/// Half a group of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// The group: [pair of coordinates].
    pub(crate) lanes: &'a [Lanes],
    /// The lower or the upper [`STRIP`] rows of it.
    pub(crate) half: usize,
    /// What the whole numbers of each row are multiplied by: for all of the half, or for its first, first two or first four.
    pub(crate) units: &'a [f32],
}

/// Groups of columns, as rows are called that others are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a, P> {
    /// [group, pair of coordinates].
    pub(crate) lanes: &'a [P],
    /// What the whole numbers of each column are multiplied by.
    pub(crate) units: &'a [f32],
    /// What is added to each column's products, if anything is.
    pub(crate) addends: Option<&'a [f32]>,
}

/// How coordinates lie in memory: [`Lanes`] or [`Bytes`].
pub(crate) trait Packed: Copy + Sync {
    /// Some rows with all columns. `kernel` is the proof that the instructions are there; the lengths belong together.
    fn strip(kernel: Kernel, rows: Rows<'_>, columns: Columns<'_, Self>, products: &mut [f32]);

    /// Puts two coordinates into one lane, in as many digits as there are.
    fn put(&mut self, lane: usize, pair: [i16; 2]);

    /// The two coordinates of one lane.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn pair_of(&self, lane: usize) -> [i64; 2];
}

/// Puts the coordinates of a row, an even number of them, into one lane of its group.
pub(crate) fn put_row<P: Packed>(group: &mut [P], lane: usize, numbers: &[i16]) {
    let (pairs, _) = numbers.as_chunks();
    group.iter_mut().zip(pairs).for_each(|(packed, &pair)| packed.put(lane, pair));
}

impl Packed for Lanes {
    fn put(&mut self, lane: usize, [first, second]: [i16; 2]) {
        self.0[lane] = Lanes::pair(first, second);
    }

    #[cfg(target_arch = "x86_64")]
    fn strip(_kernel: Kernel, rows: Rows<'_>, columns: Columns<'_, Self>, products: &mut [f32]) {
        // SAFETY: a `Kernel` exists only where the instructions were detected.
        unsafe { vnni::of_lanes(rows, columns, products) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn strip(_kernel: Kernel, rows: Rows<'_>, columns: Columns<'_, Self>, products: &mut [f32]) {
        plainly(rows, columns, products);
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn pair_of(&self, lane: usize) -> [i64; 2] {
        [self.0[lane] as i16, (self.0[lane] >> 16) as i16].map(i64::from)
    }
}

impl Packed for Bytes {
    fn put(&mut self, lane: usize, pair: [i16; 2]) {
        self[lane] = pair.map(|number| number as i8);
    }

    #[cfg(target_arch = "x86_64")]
    fn strip(_kernel: Kernel, rows: Rows<'_>, columns: Columns<'_, Self>, products: &mut [f32]) {
        // SAFETY: a `Kernel` exists only where the instructions were detected.
        unsafe { vnni::of_bytes(rows, columns, products) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn strip(_kernel: Kernel, rows: Rows<'_>, columns: Columns<'_, Self>, products: &mut [f32]) {
        plainly(rows, columns, products);
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn pair_of(&self, lane: usize) -> [i64; 2] {
        self[lane].map(i64::from)
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        __m512, __m512i, _mm256_loadu_si256, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32,
        _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::{Bytes, Columns, LANES, Lanes, Rows, STRIP};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn of_lanes(rows: Rows<'_>, columns: Columns<'_, Lanes>, products: &mut [f32]) {
        // SAFETY: 64 bytes, aligned to 64.
        strip(rows, columns, products, |lanes| unsafe { _mm512_load_si512(lanes.0.as_ptr().cast()) });
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn of_bytes(rows: Rows<'_>, columns: Columns<'_, Bytes>, products: &mut [f32]) {
        strip(rows, columns, products, |bytes| {
            // SAFETY: 32 bytes.
            _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
        });
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn strip<P>(
        rows: Rows<'_>,
        columns: Columns<'_, P>,
        products: &mut [f32],
        load: impl Fn(&P) -> __m512i + Copy,
    ) {
        match rows.units.len() {
            1 => some_rows::<1, P>(rows, columns, products, load),
            2 => some_rows::<2, P>(rows, columns, products, load),
            4 => some_rows::<4, P>(rows, columns, products, load),
            _ => some_rows::<STRIP, P>(rows, columns, products, load),
        }
    }

    /// Two groups of columns at a time, then what is left.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn some_rows<const ROWS: usize, P>(
        rows: Rows<'_>,
        columns: Columns<'_, P>,
        products: &mut [f32],
        load: impl Fn(&P) -> __m512i + Copy,
    ) {
        let width = rows.lanes.len();
        let stride = columns.units.len();
        for (place, lanes) in columns.lanes.chunks(2 * width).enumerate() {
            let first = place * 2 * LANES;
            let end = stride.min(first + 2 * LANES);
            let units = &columns.units[first..end];
            let addends = columns.addends.map(|addends| &addends[first..end]);
            let part = Columns { lanes, units, addends };
            let products = &mut products[first..];
            if units.len() == 2 * LANES {
                groups::<ROWS, 2, P>(rows, part, stride, products, load);
            } else {
                groups::<ROWS, 1, P>(rows, part, stride, products, load);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn groups<const ROWS: usize, const GROUPS: usize, P>(
        rows: Rows<'_>,
        columns: Columns<'_, P>,
        stride: usize,
        products: &mut [f32],
        load: impl Fn(&P) -> __m512i + Copy,
    ) {
        let width = rows.lanes.len();
        let lanes: [&[P]; GROUPS] = std::array::from_fn(|group| &columns.lanes[group * width..][..width]);
        let mut sums = [[_mm512_setzero_si512(); GROUPS]; ROWS];
        for (place, row) in rows.lanes.iter().enumerate() {
            let columns = lanes.map(|lanes| load(&lanes[place]));
            let (halves, _) = row.0.as_chunks::<STRIP>();
            for (sums, &row) in sums.iter_mut().zip(&halves[rows.half]) {
                let row = _mm512_set1_epi32(row);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpwssd_epi32(*sum, row, columns);
                }
            }
        }
        let units: [__m512; GROUPS] =
            std::array::from_fn(|group| load_floats(&columns.units[group * LANES..]));
        let addends: [__m512; GROUPS] = std::array::from_fn(|group| match columns.addends {
            None => _mm512_setzero_ps(),
            Some(addends) => load_floats(&addends[group * LANES..]),
        });
        for ((row, sums), &unit) in sums.into_iter().enumerate().zip(rows.units) {
            for (group, sum) in sums.into_iter().enumerate() {
                let unit = _mm512_mul_ps(_mm512_set1_ps(unit), units[group]);
                let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), unit, addends[group]);
                let to = &mut products[row * stride + group * LANES..][..LANES];
                // SAFETY: sixteen numbers.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), product) };
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_floats(numbers: &[f32]) -> __m512 {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_loadu_ps(numbers[..LANES].as_ptr()) }
    }
}

/// The same, one product after the other.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn plainly<P: Packed>(rows: Rows<'_>, columns: Columns<'_, P>, products: &mut [f32]) {
    let (width, stride) = (rows.lanes.len(), columns.units.len());
    for (place, product) in products.iter_mut().enumerate() {
        let (row, column) = (place / stride, place % stride);
        let (row_lane, column_lane) = (rows.half * STRIP + row, column % LANES);
        let lanes = rows.lanes.iter().zip(&columns.lanes[column / LANES * width..]);
        let of = |(a, b): (&Lanes, &P)| {
            let ([a, b], [c, d]) = (a.pair_of(row_lane), b.pair_of(column_lane));
            a * c + b * d
        };
        let unit = rows.units[row] * columns.units[column];
        let addend = columns.addends.map_or(0.0, |addends| addends[column]);
        *product = (lanes.map(of).sum::<i64>() as f32).mul_add(unit, addend);
    }
}

#[cfg(test)]
mod tests {
    use inject_states::random::SplitMix;

    use super::*;

    #[test]
    fn two_numbers_share_a_lane() {
        assert_eq!(Lanes::pair(-1, 0), 0xffff);
        assert_eq!(Lanes::pair(3, -1), -0x10000 + 3);
    }

    /// Strips of every size of random rows with random columns.
    fn check<P: Packed>(largest_column: i64, pack: impl Fn([[i16; 2]; LANES]) -> P) {
        let Some(kernel) = Kernel::detect() else {
            println!("skipped: this processor multiplies no whole numbers");
            return;
        };
        let mut numbers = SplitMix::seeded(1);
        for (width, groups) in [(1, 1), (3, 2), (33, 5), (288, 4)] {
            // As large as a sum of so many squares can have them.
            let largest = ((1 << 30) as f64 / (2 * width) as f64).sqrt().min(32_767.0) as i64;
            let mut draw = |largest: i64| -> [[i16; 2]; LANES] {
                let mut number = || (numbers.below(2 * largest as u64 + 1) as i64 - largest) as i16;
                std::array::from_fn(|_| [number(), number()])
            };
            let rows: Vec<Lanes> =
                (0..width).map(|_| Lanes(draw(largest).map(|[a, b]| Lanes::pair(a, b)))).collect();
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
                let rows = Rows { lanes: &rows, half, units: &units[..count] };
                let columns = Columns { lanes: &columns, units: &units, addends };
                let mut found = vec![f32::NAN; count * groups * LANES];
                let mut expected = found.clone();
                kernel.strip(rows, columns, &mut found);
                plainly(rows, columns, &mut expected);
                assert_eq!(found, expected, "{count} rows, {width} pairs, {groups} groups");
            }
        }
    }

    #[test]
    fn a_strip_has_the_products_of_its_rows() {
        check(32_767, |pairs| Lanes(pairs.map(|[a, b]| Lanes::pair(a, b))));
        check(127, |pairs| pairs.map(|pair| pair.map(|number| number as i8)));
    }
}
