//! Products in plain Rust.

use super::{
    super::stored::{BLOCK, Stored},
    Group,
};

/// Partial sums of each product.
const LANES: usize = BLOCK / 2;

pub(super) fn products<S: Stored>(group: Group<'_>, weights: &[&[u8]], sums: &mut [f32]) {
    // A fused multiply-add is one instruction, or a slow function.
    each::<S, { cfg!(any(target_arch = "aarch64", target_feature = "fma")) }>(group, weights, sums);
}

/// Compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn each<S: Stored, const FUSED: bool>(group: Group<'_>, weights: &[&[u8]], sums: &mut [f32]) {
    match group.rows {
        1 => rows::<S, FUSED, 1>(group, weights, sums),
        2 => rows::<S, FUSED, 2>(group, weights, sums),
        3 => rows::<S, FUSED, 3>(group, weights, sums),
        4 => rows::<S, FUSED, 4>(group, weights, sums),
        5 => rows::<S, FUSED, 5>(group, weights, sums),
        6 => rows::<S, FUSED, 6>(group, weights, sums),
        7 => rows::<S, FUSED, 7>(group, weights, sums),
        _ => rows::<S, FUSED, 8>(group, weights, sums),
    }
}

#[inline(always)]
fn rows<S: Stored, const FUSED: bool, const ROWS: usize>(
    group: Group<'_>,
    weights: &[&[u8]],
    sums: &mut [f32],
) {
    for (output, bytes) in weights.iter().enumerate() {
        let mut partial = [[0.0_f32; LANES]; ROWS];
        let mut widened = [0.0; BLOCK];
        let blocks = bytes.chunks_exact(BLOCK * S::BYTES);
        let rest = blocks.remainder();
        let mut values = group.values.chunks_exact(ROWS * BLOCK);
        for (bytes, values) in blocks.zip(&mut values) {
            S::widen(bytes, &mut widened);
            block::<FUSED, ROWS>(values, &widened, &mut partial);
        }
        if let Some(values) = values.next() {
            widen_rest::<S>(rest, &mut widened);
            block::<FUSED, ROWS>(values, &widened, &mut partial);
        }
        for (row, partial) in partial.iter().enumerate() {
            sums[row * weights.len() + output] = added_up(partial);
        }
    }
}

#[allow(clippy::needless_range_loop, reason = "closures are not compiled for the caller's instructions")]
#[inline(always)]
pub(super) fn block<const FUSED: bool, const ROWS: usize>(
    values: &[f32],
    weights: &[f32; BLOCK],
    partial: &mut [[f32; LANES]; ROWS],
) {
    let (rows, _) = values.as_chunks::<BLOCK>();
    for row in 0..ROWS {
        for half in [0, LANES] {
            for lane in 0..LANES {
                let (value, weight) = (rows[row][half + lane], weights[half + lane]);
                let sum = &mut partial[row][lane];
                *sum = if FUSED { value.mul_add(weight, *sum) } else { value * weight + *sum };
            }
        }
    }
}

/// Adds up the partial sums in the order of the vector instructions.
#[inline(always)]
pub(super) fn added_up(partial: &[f32; LANES]) -> f32 {
    let quarter = |at: usize| (partial[at] + partial[at + 2]) + (partial[at + 1] + partial[at + 3]);
    (quarter(0) + quarter(4)) + (quarter(8) + quarter(12))
}

/// Widens a part of a block, and fills it up with zeros.
#[inline(always)]
pub(super) fn widen_rest<S: Stored>(rest: &[u8], widened: &mut [f32; BLOCK]) {
    let mut bytes = [0; 4 * BLOCK];
    bytes[..rest.len()].copy_from_slice(rest);
    S::widen(&bytes[..BLOCK * S::BYTES], widened);
}
