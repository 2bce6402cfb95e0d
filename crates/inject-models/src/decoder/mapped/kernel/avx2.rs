//! Products by AVX2.
//!
//! Sixteen partial sums take two registers, and the processor has sixteen. So the two sides of the partial sums are computed one after
//! the other, each with more rows and outputs at once.

use std::arch::x86_64::{
    __m128, __m256, _MM_HINT_T1, _mm_add_ps, _mm_loadu_ps, _mm_loadu_si128, _mm_prefetch, _mm_storeu_ps,
    _mm256_add_ps, _mm256_and_si256, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_setzero_ps, _mm256_slli_epi32,
    _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
};

use super::{
    super::stored::{BLOCK, Bf16, F16, F32, Stored},
    Group,
};

/// The size of a line of the cache.
const LINE: usize = 64;
/// The most rows that are multiplied at once.
const PART: usize = 4;
/// The partial sums of a side.
pub(super) const SIDE: usize = 8;

/// The proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Self> {
        let all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        all.then_some(Detected(()))
    }
}

/// A format whose blocks are widened into four registers.
pub(super) trait Vectors: Stored {
    /// Widens one side of half of a block.
    ///
    /// # Safety
    ///
    /// A whole block can be read at `bytes`, and the processor has what [`Detected`] proves.
    unsafe fn quarter(bytes: *const u8, half: usize, side: usize) -> __m256;

    /// Widens eight numbers in their natural order.
    ///
    /// # Safety
    ///
    /// Eight numbers can be read at `bytes`, and the processor has what [`Detected`] proves.
    unsafe fn eight(bytes: *const u8) -> __m256;
}

impl Vectors for Bf16 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quarter(bytes: *const u8, half: usize, side: usize) -> __m256 {
        // SAFETY: the caller's.
        let pairs = unsafe { _mm256_loadu_si256(bytes.add(side * BLOCK).cast()) };
        _mm256_castsi256_ps(match half {
            0 => _mm256_slli_epi32::<16>(pairs),
            _ => _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32)),
        })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn eight(bytes: *const u8) -> __m256 {
        // SAFETY: the caller's.
        let halves = unsafe { _mm_loadu_si128(bytes.cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
    }
}

impl Vectors for F16 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn quarter(bytes: *const u8, half: usize, side: usize) -> __m256 {
        // SAFETY: the caller's.
        unsafe { Self::eight(bytes.add(half * BLOCK + side * BLOCK / 2)) }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn eight(bytes: *const u8) -> __m256 {
        // SAFETY: the caller's.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.cast()) })
    }
}

impl Vectors for F32 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quarter(bytes: *const u8, half: usize, side: usize) -> __m256 {
        // SAFETY: the caller's.
        unsafe { Self::eight(bytes.add(half * 2 * BLOCK + side * BLOCK)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn eight(bytes: *const u8) -> __m256 {
        // SAFETY: the caller's.
        unsafe { _mm256_loadu_ps(bytes.cast()) }
    }
}

/// Divides the rows of a group into parts of at most `most`, which are multiplied at once: the first row of each, and the number of its
/// rows.
pub(super) fn parts(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let len = rows.div_ceil(rows.div_ceil(most));
    (0..rows).step_by(len).map(move |first| (first, len.min(rows - first)))
}

/// Returns the largest number of outputs whose sums for a part of `rows` rows, and the weights of each, fit into the registers: at most
/// 12 of 16 hold sums.
pub(super) fn outputs(rows: usize) -> usize {
    [8, 6, 4, 3, 4, 4, 3, 3][rows - 1]
}

/// Computes the products of up to eight rows with the weights of some outputs. The caller has checked the lengths.
pub(super) fn products<S: Vectors>(
    detected: Detected,
    group: Group<'_>,
    weights: &[&[u8]],
    ahead: usize,
    sums: &mut [f32],
) {
    let outputs = weights.len();
    for_each_sum::<S>(detected, group, weights, Some(ahead), |row, output, sum| {
        sums[row * outputs + output] = sum;
    });
}

/// The same, with a call of `put` for each row, output and sum. Nothing is prefetched without `ahead`.
pub(super) fn for_each_sum<S: Vectors>(
    _: Detected,
    group: Group<'_>,
    weights: &[&[u8]],
    ahead: Option<usize>,
    mut put: impl FnMut(usize, usize, f32),
) {
    for (first, rows) in parts(group.rows, PART) {
        let values = &group.values[first * BLOCK..];
        let stride = group.rows * BLOCK;
        // The first part brings what is ahead.
        let ahead = ahead.filter(|_| first == 0);
        macro_rules! of {
            ($rows:literal: $($outputs:literal)*) => {
                match weights.len() {
                    $($outputs => of!($rows, $outputs, 0),)*
                    _ => for output in 0..weights.len() {
                        of!($rows, 1, output);
                    },
                }
            };
            ($rows:literal, $outputs:literal, $first_output:expr) => {{
                let weights = weights[$first_output..].first_chunk::<$outputs>().expect("so many outputs");
                // SAFETY: `Detected` exists only where the instructions do; the lengths were checked.
                let sums = unsafe { tile::<S, $rows, $outputs>(values, stride, weights, ahead) };
                for (output, sums) in sums.iter().enumerate() {
                    for (row, &sum) in sums[..$rows].iter().enumerate() {
                        put(first + row, $first_output + output, sum);
                    }
                }
            }};
        }
        match rows {
            1 => of!(1: 8 3),
            2 => of!(2: 6 4 3),
            3 => of!(3: 4 3),
            _ => of!(4: 3),
        }
    }
}

/// Multiplies a side of a block of every row with that of every output. A macro, because a function that is not inlined would keep the
/// sums in memory.
macro_rules! step {
    ($values:expr, $side:ident, $weights:ident, $at:expr, $partial:ident) => {{
        for half in 0..2 {
            let mut widened = [_mm256_setzero_ps(); OUTPUTS];
            for output in 0..OUTPUTS {
                widened[output] = S::quarter($weights[output].add($at), half, $side);
            }
            for row in 0..ROWS {
                let value = _mm256_loadu_ps($values.add(row * BLOCK + half * BLOCK / 2 + $side * SIDE));
                for output in 0..OUTPUTS {
                    $partial[row][output] = _mm256_fmadd_ps(value, widened[output], $partial[row][output]);
                }
            }
        }
    }};
}

/// Returns the sums of each output, with places for [`PART`] rows.
///
/// # Safety
///
/// `values` holds blocks of the rows, `stride` numbers from one block of a row to the next, and each row of `weights` that many blocks,
/// the last of which may be incomplete.
#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<S: Vectors, const ROWS: usize, const OUTPUTS: usize>(
    values: &[f32],
    stride: usize,
    weights: &[&[u8]; OUTPUTS],
    ahead: Option<usize>,
) -> [[f32; PART]; OUTPUTS] {
    let block_bytes = BLOCK * S::BYTES;
    let len = weights[0].len();
    let whole = len / block_bytes * block_bytes;
    let mut sums = [[0.0; PART]; OUTPUTS];
    for side in 0..2 {
        let mut partial = [[_mm256_setzero_ps(); OUTPUTS]; ROWS];
        let starts: [*const u8; OUTPUTS] = weights.map(<[u8]>::as_ptr);
        let mut value = values.as_ptr();
        let mut at = 0;
        while at < whole {
            if let (Some(ahead), 0) = (ahead, side) {
                for output in 0..OUTPUTS {
                    // A prefetch may name an address that does not exist.
                    let soon = starts[output].wrapping_add(at + ahead);
                    for line in (0..block_bytes).step_by(LINE) {
                        _mm_prefetch::<_MM_HINT_T1>(soon.wrapping_add(line).cast());
                    }
                }
            }
            // SAFETY: the block is one of the whole ones in every row of weights and in `values`.
            unsafe { step!(value, side, starts, at, partial) };
            // Nothing is read after the last block.
            value = value.wrapping_add(stride);
            at += block_bytes;
        }
        if whole < len {
            let mut last = [[0_u8; 4 * BLOCK]; OUTPUTS];
            for (last, bytes) in last.iter_mut().zip(weights) {
                last[..len - whole].copy_from_slice(&bytes[whole..]);
            }
            let last = last.each_ref().map(|last| last.as_ptr());
            // SAFETY: `values` has one more block, and `last` is as long as a block of any format.
            unsafe { step!(value, side, last, 0, partial) };
        }
        for output in 0..OUTPUTS {
            let mut of_rows = [_mm256_setzero_ps(); PART];
            for row in 0..ROWS {
                of_rows[row] = partial[row][output];
            }
            let of_side = added_up(of_rows);
            let to = sums[output].as_mut_ptr();
            // SAFETY: four numbers.
            unsafe {
                let all = if side == 0 { of_side } else { _mm_add_ps(_mm_loadu_ps(to), of_side) };
                _mm_storeu_ps(to, all);
            }
        }
    }
    sums
}

/// Returns the sum of the numbers in each of four registers. The order of the additions is that of the portable kernel.
#[inline]
#[target_feature(enable = "avx2")]
fn added_up(of: [__m256; PART]) -> __m128 {
    let pair = |a, b| _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    // In both halves a0 + a2, b0 + b2, a1 + a3, b1 + b3.
    let (a, b) = (_mm256_castps_pd(pair(of[0], of[1])), _mm256_castps_pd(pair(of[2], of[3])));
    let quarters =
        _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    _mm_add_ps(_mm256_castps256_ps128(quarters), _mm256_extractf128_ps::<1>(quarters))
}
