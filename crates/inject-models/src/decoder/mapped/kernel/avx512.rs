//! Products by AVX-512.

use std::arch::x86_64::{
    __m512, _MM_HINT_T1, _mm_prefetch, _mm_storeu_ps, _mm256_loadu_si256, _mm512_add_ps, _mm512_and_si512,
    _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps512_ps128, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_extractf32x4_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_slli_epi32, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use super::{
    super::stored::{BLOCK, Bf16, F16, F32, Stored},
    GROUP, Group,
};

/// The size of a line of the cache.
const LINE: usize = 64;

/// The proof that the processor has AVX-512 F.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Detected(()))
    }
}

/// A format whose blocks are widened into two registers.
pub(super) trait Vectors: Stored {
    /// Widens half of a block.
    ///
    /// # Safety
    ///
    /// A whole block can be read at `bytes`, and the processor has AVX-512 F.
    unsafe fn half(bytes: *const u8, half: usize) -> __m512;

    /// Widens sixteen numbers in their natural order.
    ///
    /// # Safety
    ///
    /// Sixteen numbers can be read at `bytes`, and the processor has AVX-512 F.
    unsafe fn sixteen(bytes: *const u8) -> __m512;
}

impl Vectors for Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn half(bytes: *const u8, half: usize) -> __m512 {
        // SAFETY: the caller's.
        let pairs = unsafe { _mm512_loadu_si512(bytes.cast()) };
        _mm512_castsi512_ps(match half {
            0 => _mm512_slli_epi32::<16>(pairs),
            _ => _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32)),
        })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller's.
        let halves = unsafe { _mm256_loadu_si256(bytes.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }
}

impl Vectors for F16 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn half(bytes: *const u8, half: usize) -> __m512 {
        // SAFETY: the caller's.
        unsafe { Self::sixteen(bytes.add(half * BLOCK)) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller's.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bytes.cast()) })
    }
}

impl Vectors for F32 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn half(bytes: *const u8, half: usize) -> __m512 {
        // SAFETY: the caller's.
        unsafe { Self::sixteen(bytes.add(half * 2 * BLOCK)) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_ps(bytes.cast()) }
    }
}

/// Returns the largest number of outputs whose sums for `rows` rows, and the weights of each, fit into the registers: 24 of 32 hold sums.
pub(super) fn outputs(rows: usize) -> usize {
    [8, 8, 6, 6, 4, 4, 3, 3][rows - 1]
}

/// Computes the products of up to eight rows with the weights of some outputs. The caller has checked the lengths.
pub(super) fn products<S: Vectors>(
    _: Detected,
    group: Group<'_>,
    weights: &[&[u8]],
    ahead: usize,
    sums: &mut [f32],
) {
    macro_rules! of {
        ($rows:literal, $outputs:literal) => {{
            if let Some(weights) = weights.first_chunk::<$outputs>().filter(|_| weights.len() == $outputs) {
                // SAFETY: `Detected` exists only where the instructions do; the lengths were checked.
                return unsafe { tile::<S, $rows, $outputs>(group.values, weights, ahead, sums) };
            }
            for (output, bytes) in weights.iter().enumerate() {
                let mut column = [0.0; $rows];
                // SAFETY: as above.
                unsafe { tile::<S, $rows, 1>(group.values, &[bytes], ahead, &mut column) };
                for (row, sum) in column.into_iter().enumerate() {
                    sums[row * weights.len() + output] = sum;
                }
            }
        }};
    }
    match group.rows {
        1 => of!(1, 8),
        2 => of!(2, 8),
        3 => of!(3, 6),
        4 => of!(4, 6),
        5 => of!(5, 4),
        6 => of!(6, 4),
        7 => of!(7, 3),
        _ => of!(8, 3),
    }
}

/// Multiplies a block of every row with a block of every output. A macro, because a function that is not inlined would keep the sums
/// in memory.
macro_rules! step {
    ($values:expr, $weights:ident, $at:expr, $partial:ident) => {{
        for half in 0..2 {
            let mut widened = [_mm512_setzero_ps(); OUTPUTS];
            for output in 0..OUTPUTS {
                widened[output] = S::half($weights[output].add($at), half);
            }
            for row in 0..ROWS {
                let value = _mm512_loadu_ps($values.add(row * BLOCK + half * BLOCK / 2));
                for output in 0..OUTPUTS {
                    $partial[row][output] = _mm512_fmadd_ps(value, widened[output], $partial[row][output]);
                }
            }
        }
    }};
}

/// # Safety
///
/// `values` holds whole blocks of the rows, each row of `weights` that many blocks, the last of which may be incomplete, and `sums`
/// one number for each row and output.
#[allow(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "what is not unrolled before it is optimised would keep the sums in memory"
)]
#[target_feature(enable = "avx512f")]
unsafe fn tile<S: Vectors, const ROWS: usize, const OUTPUTS: usize>(
    values: &[f32],
    weights: &[&[u8]; OUTPUTS],
    ahead: usize,
    sums: &mut [f32],
) {
    let block_bytes = BLOCK * S::BYTES;
    let len = weights[0].len();
    let whole = len / block_bytes * block_bytes;
    let mut partial = [[_mm512_setzero_ps(); OUTPUTS]; ROWS];
    let starts: [*const u8; OUTPUTS] = weights.map(<[u8]>::as_ptr);
    let mut value = values.as_ptr();
    let mut at = 0;
    while at < whole {
        for output in 0..OUTPUTS {
            // A prefetch may name an address that does not exist.
            let soon = starts[output].wrapping_add(at + ahead);
            for line in (0..block_bytes).step_by(LINE) {
                _mm_prefetch::<_MM_HINT_T1>(soon.wrapping_add(line).cast());
            }
        }
        // SAFETY: the block is one of the whole ones in every row of weights and in `values`.
        unsafe {
            step!(value, starts, at, partial);
            value = value.add(ROWS * BLOCK);
        }
        at += block_bytes;
    }
    if whole < len {
        let mut last = [[0_u8; 4 * BLOCK]; OUTPUTS];
        for (last, bytes) in last.iter_mut().zip(weights) {
            last[..len - whole].copy_from_slice(&bytes[whole..]);
        }
        let last = last.each_ref().map(|last| last.as_ptr());
        // SAFETY: `values` has one more block, and `last` is as long as a block of any format.
        unsafe { step!(value, last, 0, partial) };
    }
    let mut first = 0;
    while first < ROWS * OUTPUTS {
        let mut eight = [_mm512_setzero_ps(); GROUP];
        for place in 0..GROUP {
            if first + place < ROWS * OUTPUTS {
                eight[place] = partial[(first + place) / OUTPUTS][(first + place) % OUTPUTS];
            }
        }
        let mut added = [0.0; GROUP];
        added_up(eight, &mut added);
        let len = GROUP.min(ROWS * OUTPUTS - first);
        sums[first..first + len].copy_from_slice(&added[..len]);
        first += GROUP;
    }
}

/// Writes the sum of the numbers in each of eight registers. The order of the additions is that of the portable kernel.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn added_up(of: [__m512; GROUP], to: &mut [f32; GROUP]) {
    let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    // In every quarter a0 + a2, b0 + b2, a1 + a3, b1 + b3.
    let four = |a, b| {
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
    };
    let low = four(pair(of[0], of[1]), pair(of[2], of[3]));
    let high = four(pair(of[4], of[5]), pair(of[6], of[7]));
    // Quarters 0 + 1 and 2 + 3, of the first four registers and of the last four.
    let halves =
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(low, high), _mm512_shuffle_f32x4::<0xdd>(low, high));
    let all = _mm512_add_ps(halves, _mm512_shuffle_f32x4::<0xb1>(halves, halves));
    let (to, []) = to.as_chunks_mut::<4>() else { return };
    // SAFETY: twice four numbers.
    unsafe {
        _mm_storeu_ps(to[0].as_mut_ptr(), _mm512_castps512_ps128(all));
        _mm_storeu_ps(to[1].as_mut_ptr(), _mm512_extractf32x4_ps::<2>(all));
    }
}
