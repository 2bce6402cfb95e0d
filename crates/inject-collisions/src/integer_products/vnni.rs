//! Products of integer rows by AVX-512 VNNI.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32,
    _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::kernel::{Bytes, ColumnGroups, LANES, RowStrip, STRIP, Words};

/// Proof that the processor has AVX-512 F, BW and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        all.then_some(Detected(()))
    }
}

pub(super) fn of_words(
    _: Detected,
    rows: RowStrip<'_>,
    columns: ColumnGroups<'_, Words>,
    products: &mut [f32],
) {
    // SAFETY: a `Detected` exists only if the processor has the instructions.
    unsafe { words(rows, columns, products) }
}

pub(super) fn of_bytes(
    _: Detected,
    rows: RowStrip<'_>,
    columns: ColumnGroups<'_, Bytes>,
    products: &mut [f32],
) {
    // SAFETY: a `Detected` exists only if the processor has the instructions.
    unsafe { bytes(rows, columns, products) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn words(rows: RowStrip<'_>, columns: ColumnGroups<'_, Words>, products: &mut [f32]) {
    // SAFETY: `Words` has 64 bytes and is aligned to 64.
    strip(rows, columns, products, |pairs| unsafe { _mm512_load_si512(pairs.0.as_ptr().cast()) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn bytes(rows: RowStrip<'_>, columns: ColumnGroups<'_, Bytes>, products: &mut [f32]) {
    strip(rows, columns, products, |pairs| {
        // SAFETY: `Bytes` has 32 bytes.
        _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(pairs.as_ptr().cast()) })
    });
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn strip<P>(
    rows: RowStrip<'_>,
    columns: ColumnGroups<'_, P>,
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

/// Multiplies two groups of columns at a time, then the remaining one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn some_rows<const ROWS: usize, P>(
    rows: RowStrip<'_>,
    columns: ColumnGroups<'_, P>,
    products: &mut [f32],
    load: impl Fn(&P) -> __m512i + Copy,
) {
    let width = rows.pairs.len();
    let stride = columns.units.len();
    for (place, pairs) in columns.pairs.chunks(2 * width).enumerate() {
        let first = place * 2 * LANES;
        let end = stride.min(first + 2 * LANES);
        let units = &columns.units[first..end];
        let addends = columns.addends.map(|addends| &addends[first..end]);
        let part = ColumnGroups { pairs, units, addends };
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
    rows: RowStrip<'_>,
    columns: ColumnGroups<'_, P>,
    stride: usize,
    products: &mut [f32],
    load: impl Fn(&P) -> __m512i + Copy,
) {
    let width = rows.pairs.len();
    let pairs: [&[P]; GROUPS] = std::array::from_fn(|group| &columns.pairs[group * width..][..width]);
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; ROWS];
    for (place, row) in rows.pairs.iter().enumerate() {
        let columns = pairs.map(|pairs| load(&pairs[place]));
        // SAFETY: sixteen pairs of i16 have the size of sixteen i32, and `Words` is aligned to 64 bytes.
        let row: &[i32; LANES] = unsafe { &*row.0.as_ptr().cast() };
        let (halves, _) = row.as_chunks::<STRIP>();
        for (sums, &row) in sums.iter_mut().zip(&halves[rows.half]) {
            let row = _mm512_set1_epi32(row);
            for (sum, &columns) in sums.iter_mut().zip(&columns) {
                *sum = _mm512_dpwssd_epi32(*sum, row, columns);
            }
        }
    }
    let units: [__m512; GROUPS] = std::array::from_fn(|group| load_floats(&columns.units[group * LANES..]));
    let addends: [__m512; GROUPS] = std::array::from_fn(|group| match columns.addends {
        None => _mm512_setzero_ps(),
        Some(addends) => load_floats(&addends[group * LANES..]),
    });
    for ((row, sums), &unit) in sums.into_iter().enumerate().zip(rows.units) {
        for (group, sum) in sums.into_iter().enumerate() {
            let unit = _mm512_mul_ps(_mm512_set1_ps(unit), units[group]);
            let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), unit, addends[group]);
            let to = &mut products[row * stride + group * LANES..][..LANES];
            // SAFETY: `to` holds sixteen numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), product) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_floats(numbers: &[f32]) -> __m512 {
    // SAFETY: the slice holds sixteen numbers.
    unsafe { _mm512_loadu_ps(numbers[..LANES].as_ptr()) }
}
