//! The products in plain Rust, one output at a time.

use super::{
    super::{
        super::stored::{BLOCK, Stored},
        GROUP, Group,
        portable::{added_up, block, widen_rest},
    },
    LANES,
};

pub(super) fn products(group: Group<'_>, weights: &[f32], sums: &mut [f32; GROUP]) {
    each::<{ cfg!(any(target_arch = "aarch64", target_feature = "fma")) }>(group, weights, sums);
}

/// Compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn each<const FUSED: bool>(group: Group<'_>, weights: &[f32], sums: &mut [f32; GROUP]) {
    match group.rows {
        1 => rows::<FUSED, 1>(group, weights, sums),
        2 => rows::<FUSED, 2>(group, weights, sums),
        3 => rows::<FUSED, 3>(group, weights, sums),
        4 => rows::<FUSED, 4>(group, weights, sums),
        5 => rows::<FUSED, 5>(group, weights, sums),
        6 => rows::<FUSED, 6>(group, weights, sums),
        7 => rows::<FUSED, 7>(group, weights, sums),
        _ => rows::<FUSED, 8>(group, weights, sums),
    }
}

#[inline(always)]
fn rows<const FUSED: bool, const ROWS: usize>(group: Group<'_>, weights: &[f32], sums: &mut [f32; GROUP]) {
    let mut partial = [[0.0_f32; LANES]; ROWS];
    for (values, weights) in group.values.chunks_exact(ROWS * BLOCK).zip(weights.as_chunks().0) {
        block::<FUSED, ROWS>(values, weights, &mut partial);
    }
    for (sum, partial) in sums.iter_mut().zip(&partial) {
        *sum = added_up(partial);
    }
}

/// Compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn widen<S: Stored>(weights: &[u8], to: &mut [f32]) {
    let blocks = weights.chunks_exact(BLOCK * S::BYTES);
    let rest = blocks.remainder();
    let mut to = to.as_chunks_mut::<BLOCK>().0.iter_mut();
    for (weights, to) in blocks.zip(&mut to) {
        S::widen(weights, to);
    }
    if let Some(to) = to.next() {
        widen_rest::<S>(rest, to);
    }
}
