//! The products by AVX-512.

use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_setzero_ps, _mm512_storeu_ps};

use super::{
    super::{
        super::stored::BLOCK,
        GROUP, Group,
        avx512::{Detected, Vectors, added_up},
    },
    LANES, WIDEST,
};

/// The outputs whose sums, with those of eight rows, fit into 24 of the 32 registers.
pub(super) const OUTPUTS: usize = WIDEST;

/// Widens weights of one output to F32, in the order in which `products` reads them. The caller has checked the lengths.
pub(super) fn widen<S: Vectors>(_: Detected, weights: &[u8], place: usize, to: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { widen_blocks::<S>(weights, place, to) }
}

#[target_feature(enable = "avx512f")]
fn widen_blocks<S: Vectors>(weights: &[u8], place: usize, to: &mut [f32]) {
    let mut last = [0_u8; 4 * BLOCK];
    let (blocks, rest) = (weights.chunks_exact(BLOCK * S::BYTES), weights.len() % (BLOCK * S::BYTES));
    last[..rest].copy_from_slice(blocks.remainder());
    let last = (rest > 0).then_some(&last[..BLOCK * S::BYTES]);
    for (bytes, to) in blocks.chain(last).zip(to.chunks_exact_mut(OUTPUTS * BLOCK)) {
        for half in 0..2 {
            let to = &mut to[(half * OUTPUTS + place) * LANES..][..LANES];
            // SAFETY: `bytes` is a whole block, and `to` takes sixteen numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), S::half(bytes.as_ptr(), half)) };
        }
    }
}

/// Computes the products of up to eight rows with the widened weights of some outputs. The caller has checked the lengths.
pub(super) fn products(_: Detected, group: Group<'_>, weights: &[f32], sums: &mut [[f32; GROUP]; WIDEST]) {
    macro_rules! of {
        ($rows:literal) => {
            // SAFETY: `Detected` exists only where the instructions do; the lengths were checked.
            unsafe { tile::<$rows>(group.values, weights, sums) }
        };
    }
    match group.rows {
        1 => of!(1),
        2 => of!(2),
        3 => of!(3),
        4 => of!(4),
        5 => of!(5),
        6 => of!(6),
        7 => of!(7),
        _ => of!(8),
    }
}

/// # Safety
///
/// `values` holds whole blocks of the rows, and `weights` as many of the outputs.
#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const ROWS: usize>(values: &[f32], weights: &[f32], sums: &mut [[f32; GROUP]; OUTPUTS]) {
    let mut partial = [[_mm512_setzero_ps(); OUTPUTS]; ROWS];
    let (mut value, mut weight) = (values.as_ptr(), weights.as_ptr());
    let end = value.wrapping_add(values.len());
    while value < end {
        // SAFETY: the block is one of those in `values` and in `weights`.
        unsafe {
            for half in 0..2 {
                let mut widened = [_mm512_setzero_ps(); OUTPUTS];
                for output in 0..OUTPUTS {
                    widened[output] = _mm512_loadu_ps(weight.add((half * OUTPUTS + output) * LANES));
                }
                for row in 0..ROWS {
                    let value = _mm512_loadu_ps(value.add(row * BLOCK + half * LANES));
                    for output in 0..OUTPUTS {
                        partial[row][output] = _mm512_fmadd_ps(value, widened[output], partial[row][output]);
                    }
                }
            }
            value = value.add(ROWS * BLOCK);
            weight = weight.add(OUTPUTS * BLOCK);
        }
    }
    for output in 0..OUTPUTS {
        let mut of_rows = [_mm512_setzero_ps(); GROUP];
        for row in 0..ROWS {
            of_rows[row] = partial[row][output];
        }
        added_up(of_rows, &mut sums[output]);
    }
}
