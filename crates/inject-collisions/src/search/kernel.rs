//! Products of rows of whole numbers, by the instruction that processors have for them.

/// Rows that lie side by side in memory.
pub(super) const LANES: usize = 16;
/// Rows that are multiplied with all rows of a block at a time: as many as there are registers for.
pub(super) const STRIP: usize = 8;

/// Two coordinates of each of sixteen rows, the first of the two in the lower half.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [i32; LANES]);

impl Lanes {
    pub(super) const ZERO: Lanes = Lanes([0; LANES]);

    /// Two coordinates as one lane has them.
    pub(super) fn pair(first: i16, second: i16) -> i32 {
        i32::from(first) & 0xffff | i32::from(second) << 16
    }
}

/// The proof that this processor multiplies 16-bit numbers and adds them up in 32 bits (AVX-512 VNNI).
///
/// Such a product does twice the work of one in f32 in the same time, and is exact as long as no sum leaves 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel(());

impl Kernel {
    pub(super) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            return Some(Kernel(()));
        }
        None
    }

    /// Multiplies half a group of rows with groups of columns.
    ///
    /// # Shapes
    ///
    /// `products`: [[`STRIP`], column].
    ///
    /// # Panics
    ///
    /// If the lengths do not belong together.
    pub(super) fn strip(self, rows: Rows<'_>, columns: Columns<'_>, products: &mut [f32]) {
        let groups = columns.units.len() / LANES;
        assert_eq!(rows.units.len(), STRIP, "a unit for each row");
        assert!(rows.half < LANES / STRIP, "one half or the other");
        assert_eq!(columns.units.len(), groups * LANES, "a unit for each column");
        assert_eq!(columns.lanes.len(), groups * rows.lanes.len(), "columns as wide as the rows");
        assert_eq!(products.len(), STRIP * groups * LANES, "a product for each row and column");
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Kernel` exists only where the instructions were detected.
        unsafe {
            vnni::strip(rows, columns, products);
        }
        #[cfg(not(target_arch = "x86_64"))]
        plainly(rows, columns, products);
    }
}

/// Half a group of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// The group: [pair of coordinates].
    pub(super) lanes: &'a [Lanes],
    /// The lower or the upper [`STRIP`] rows of it.
    pub(super) half: usize,
    /// What the whole numbers of each row are multiplied by.
    pub(super) units: &'a [f32],
}

/// Groups of columns, as rows are called that others are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    /// [group, pair of coordinates].
    pub(super) lanes: &'a [Lanes],
    /// What the whole numbers of each column are multiplied by.
    pub(super) units: &'a [f32],
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        __m512i, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::{Columns, LANES, Lanes, Rows, STRIP};

    /// Two groups of columns at a time, then what is left.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn strip(rows: Rows<'_>, columns: Columns<'_>, products: &mut [f32]) {
        let width = rows.lanes.len();
        let stride = columns.units.len();
        let units = columns.units.chunks(2 * LANES);
        for (place, (lanes, units)) in columns.lanes.chunks(2 * width).zip(units).enumerate() {
            let products = &mut products[place * 2 * LANES..];
            if units.len() == 2 * LANES {
                let (left, right) = lanes.split_at(width);
                groups(rows, [left, right], units, stride, products);
            } else {
                groups(rows, [lanes], units, stride, products);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn groups<const GROUPS: usize>(
        rows: Rows<'_>,
        columns: [&[Lanes]; GROUPS],
        units: &[f32],
        stride: usize,
        products: &mut [f32],
    ) {
        let mut sums = [[_mm512_setzero_si512(); GROUPS]; STRIP];
        for (place, row) in rows.lanes.iter().enumerate() {
            let columns = columns.map(|columns| load(&columns[place]));
            let (halves, _) = row.0.as_chunks::<STRIP>();
            for (sums, &row) in sums.iter_mut().zip(&halves[rows.half]) {
                let row = _mm512_set1_epi32(row);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpwssd_epi32(*sum, row, columns);
                }
            }
        }
        for ((row, sums), &unit) in sums.into_iter().enumerate().zip(rows.units) {
            for (group, sum) in sums.into_iter().enumerate() {
                let units = &units[group * LANES..][..LANES];
                let to = &mut products[row * stride + group * LANES..][..LANES];
                // SAFETY: both are sixteen numbers.
                unsafe {
                    let units = _mm512_mul_ps(_mm512_set1_ps(unit), _mm512_loadu_ps(units.as_ptr()));
                    _mm512_storeu_ps(to.as_mut_ptr(), _mm512_mul_ps(_mm512_cvtepi32_ps(sum), units));
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(lanes: &Lanes) -> __m512i {
        // SAFETY: 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(lanes.0.as_ptr().cast()) }
    }
}

/// The same, one product after the other.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn plainly(rows: Rows<'_>, columns: Columns<'_>, products: &mut [f32]) {
    let (width, stride) = (rows.lanes.len(), columns.units.len());
    let coordinates = |lane: i32| [lane as i16, (lane >> 16) as i16].map(i64::from);
    for (place, product) in products.iter_mut().enumerate() {
        let (row, column) = (place / stride, place % stride);
        let (row_lane, column_lane) = (rows.half * STRIP + row, column % LANES);
        let lanes = rows.lanes.iter().zip(&columns.lanes[column / LANES * width..]);
        let of = |(a, b): (&Lanes, &Lanes)| {
            let ([a, b], [c, d]) = (coordinates(a.0[row_lane]), coordinates(b.0[column_lane]));
            a * c + b * d
        };
        *product = lanes.map(of).sum::<i64>() as f32 * (rows.units[row] * columns.units[column]);
    }
}

#[cfg(test)]
mod tests {
    use inject_states::SplitMix;

    use super::*;

    #[test]
    fn two_numbers_share_a_lane() {
        assert_eq!(Lanes::pair(-1, 0), 0xffff);
        assert_eq!(Lanes::pair(3, -1), -0x10000 + 3);
    }

    #[test]
    fn a_strip_has_the_products_of_its_rows() {
        let Some(kernel) = Kernel::detect() else {
            println!("skipped: this processor multiplies no whole numbers");
            return;
        };
        let mut numbers = SplitMix::seeded(1);
        for (width, groups) in [(1, 1), (3, 2), (33, 5), (288, 4)] {
            // As large as a sum of so many squares can have them.
            let largest = ((1 << 30) as f64 / (2 * width) as f64).sqrt().min(32_767.0) as i64;
            let mut draw = |count: usize| -> Vec<Lanes> {
                let mut number = || (numbers.below(2 * largest as u64 + 1) as i64 - largest) as i16;
                let mut lanes = || Lanes(std::array::from_fn(|_| Lanes::pair(number(), number())));
                (0..count).map(|_| lanes()).collect()
            };
            let (rows, columns) = (draw(width), draw(groups * width));
            let units: Vec<f32> = (0..groups * LANES).map(|place| 0.5_f32.powi(place as i32 % 9)).collect();
            for half in 0..2 {
                let rows = Rows { lanes: &rows, half, units: &units[..STRIP] };
                let columns = Columns { lanes: &columns, units: &units };
                let mut found = vec![f32::NAN; STRIP * groups * LANES];
                let mut expected = found.clone();
                kernel.strip(rows, columns, &mut found);
                plainly(rows, columns, &mut expected);
                assert_eq!(found, expected, "{width} pairs, {groups} groups");
            }
        }
    }
}
