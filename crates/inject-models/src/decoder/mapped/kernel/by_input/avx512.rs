//! The products of outputs side by side in the vectors of AVX-512.

use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps};

use super::{
    super::{
        super::stored::BLOCK,
        Group,
        avx512::{Detected, Vectors},
    },
    Columns, LANES, portable, widened,
};

/// Returns the largest number of vectors of outputs whose sums for `rows` rows fit into 24 of the 32 registers.
pub(super) fn vectors(rows: usize) -> usize {
    [8, 8, 8, 6, 4, 4, 3, 3][rows - 1]
}

/// Widens consecutive weights to F32. The caller has checked the lengths.
pub(super) fn widen<S: Vectors>(_: Detected, weights: &[u8], to: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { widen_vectors::<S>(weights, to) }
}

#[target_feature(enable = "avx512f,avx2,fma")]
fn widen_vectors<S: Vectors>(weights: &[u8], to: &mut [f32]) {
    let vectors = to.len() / LANES * LANES;
    let (weights, rest) = weights.split_at(vectors * S::BYTES);
    let (to, to_rest) = to.split_at_mut(vectors);
    for (weights, to) in weights.chunks_exact(LANES * S::BYTES).zip(to.chunks_exact_mut(LANES)) {
        // SAFETY: sixteen numbers are read and written.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), S::sixteen(weights.as_ptr())) };
    }
    widened::<S>(rest, to_rest);
}

/// Computes the products of up to eight rows with consecutive outputs. The caller has checked the lengths.
pub(super) fn products<S: Vectors>(_: Detected, group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { of_any_rows::<S>(group, columns, sums) }
}

#[target_feature(enable = "avx512f,avx2,fma")]
fn of_any_rows<S: Vectors>(group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    macro_rules! of {
        ($rows:literal, $vectors:literal) => {{
            let mut first = 0;
            while first + $vectors * LANES <= columns.outputs {
                // SAFETY: the lengths were checked, and the outputs are among those of `columns`.
                unsafe { tile::<S, $rows, $vectors>(group.values, columns, first, sums) };
                first += $vectors * LANES;
            }
            while first + LANES <= columns.outputs {
                // SAFETY: as above.
                unsafe { tile::<S, $rows, 1>(group.values, columns, first, sums) };
                first += LANES;
            }
            first
        }};
    }
    let done = match group.rows {
        1 => of!(1, 8),
        2 => of!(2, 8),
        3 => of!(3, 8),
        4 => of!(4, 6),
        5 => of!(5, 4),
        6 => of!(6, 4),
        7 => of!(7, 3),
        _ => of!(8, 3),
    };
    portable::<S, true>(group, columns, done, sums);
}

/// # Safety
///
/// `values` holds the inputs of the rows in whole blocks. `columns` has the outputs from `first` on, as many as `VECTORS` hold.
#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[target_feature(enable = "avx512f")]
unsafe fn tile<S: Vectors, const ROWS: usize, const VECTORS: usize>(
    values: &[f32],
    columns: Columns<'_>,
    first: usize,
    sums: &mut [f32],
) {
    let mut partial = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let mut weights = columns.bytes[first * S::BYTES..].as_ptr();
    for input in 0..columns.inputs {
        let value = values[input / BLOCK * ROWS * BLOCK + input % BLOCK..].as_ptr();
        // SAFETY: the weights of this input and of as many outputs are in `columns`, and the last row's value is `ROWS - 1` blocks
        // after the first's. The last addition ends at most one stride after the weights, where nothing is read.
        unsafe {
            let mut widened = [_mm512_setzero_ps(); VECTORS];
            for vector in 0..VECTORS {
                widened[vector] = S::sixteen(weights.add(vector * LANES * S::BYTES));
            }
            for row in 0..ROWS {
                let value = _mm512_set1_ps(*value.add(row * BLOCK));
                for vector in 0..VECTORS {
                    partial[row][vector] = _mm512_fmadd_ps(value, widened[vector], partial[row][vector]);
                }
            }
            weights = weights.wrapping_add(columns.stride);
        }
    }
    for (row, partial) in partial.iter().enumerate() {
        let sums = &mut sums[row * columns.outputs + first..][..VECTORS * LANES];
        for (sum, to) in partial.iter().zip(sums.chunks_exact_mut(LANES)) {
            // SAFETY: sixteen numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *sum) };
        }
    }
}
