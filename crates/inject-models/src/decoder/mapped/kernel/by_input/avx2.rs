//! The products of outputs side by side in the vectors of AVX2.

use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps};

use super::{
    super::{
        super::stored::BLOCK,
        Group,
        avx2::{Detected, Vectors, parts},
    },
    Columns, portable, widened,
};

/// The number of outputs in one vector register.
const EIGHT: usize = 8;
/// The most rows that are multiplied at once. Their sums with two vectors, the weights and a value take 15 of the 16 registers. With all
/// 16 in use the compiler moves sums to memory and back, at less than half the speed.
pub(super) const PART: usize = 6;

/// Returns the number of outputs in a tile of all parts of `rows` rows. One row needs no register for weights. With two,
/// lines of the cache that are read whole count for more than registers.
pub(super) fn outputs(rows: usize) -> usize {
    EIGHT * [12, 6, 3, 2, 2, 2, 2, 2][rows - 1]
}

/// Widens consecutive weights to F32. The caller has checked the lengths.
pub(super) fn widen<S: Vectors>(_: Detected, weights: &[u8], to: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { widen_vectors::<S>(weights, to) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn widen_vectors<S: Vectors>(weights: &[u8], to: &mut [f32]) {
    let vectors = to.len() / EIGHT * EIGHT;
    let (weights, rest) = weights.split_at(vectors * S::BYTES);
    let (to, to_rest) = to.split_at_mut(vectors);
    for (weights, to) in weights.chunks_exact(EIGHT * S::BYTES).zip(to.chunks_exact_mut(EIGHT)) {
        // SAFETY: eight numbers are read and written.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), S::eight(weights.as_ptr())) };
    }
    widened::<S>(rest, to_rest);
}

/// Computes the products of up to eight rows with consecutive outputs. The caller has checked the lengths.
pub(super) fn products<S: Vectors>(_: Detected, group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { of_any_rows::<S>(group, columns, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn of_any_rows<S: Vectors>(group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    for (first_row, rows) in parts(group.rows, PART) {
        let mut first = 0;
        // Of the widest tiles first, as many as there are.
        macro_rules! of {
            ($rows:literal: $($vectors:literal)*) => {{
                $(while first + $vectors * EIGHT <= columns.outputs {
                    // SAFETY: the lengths were checked, and the outputs are among those of `columns`.
                    unsafe { tile::<S, $rows, $vectors>(group, first_row, columns, first, sums) };
                    first += $vectors * EIGHT;
                })*
            }};
        }
        match rows {
            1 => of!(1: 12 4 1),
            2 => of!(2: 6 3 1),
            3 => of!(3: 3 2 1),
            4 => of!(4: 2 1),
            5 => of!(5: 2 1),
            _ => of!(6: 2 1),
        }
    }
    portable::<S, true>(group, columns, columns.outputs / EIGHT * EIGHT, sums);
}

/// # Safety
///
/// `group` has the rows from `first_row` on, as many as `ROWS`. `columns` has the outputs from `first` on, as many as `VECTORS` hold.
#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<S: Vectors, const ROWS: usize, const VECTORS: usize>(
    group: Group<'_>,
    first_row: usize,
    columns: Columns<'_>,
    first: usize,
    sums: &mut [f32],
) {
    let mut partial = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    let mut weights = columns.bytes[first * S::BYTES..].as_ptr();
    let (values, stride) = (group.values[first_row * BLOCK..].as_ptr(), group.rows * BLOCK);
    for input in 0..columns.inputs {
        let value = values.wrapping_add(input / BLOCK * stride + input % BLOCK);
        // SAFETY: the weights of this input and of as many outputs are in `columns`, and the last row's value is `ROWS - 1` blocks
        // after the first's. The last addition ends at most one stride after the weights, where nothing is read.
        unsafe {
            let mut widened = [_mm256_setzero_ps(); VECTORS];
            for vector in 0..VECTORS {
                widened[vector] = S::eight(weights.add(vector * EIGHT * S::BYTES));
            }
            for row in 0..ROWS {
                let value = _mm256_set1_ps(*value.add(row * BLOCK));
                for vector in 0..VECTORS {
                    partial[row][vector] = _mm256_fmadd_ps(value, widened[vector], partial[row][vector]);
                }
            }
            weights = weights.wrapping_add(columns.stride);
        }
    }
    for (row, partial) in partial.iter().enumerate() {
        let sums = &mut sums[(first_row + row) * columns.outputs + first..][..VECTORS * EIGHT];
        for (sum, to) in partial.iter().zip(sums.chunks_exact_mut(EIGHT)) {
            // SAFETY: eight numbers.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), *sum) };
        }
    }
}
