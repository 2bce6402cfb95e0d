//! The products by AVX2: those of weights that are stored in F32, one output after another.

use std::arch::x86_64::_mm256_storeu_ps;

use super::{
    super::{
        super::stored::{BLOCK, F32, as_bytes},
        GROUP, Group,
        avx2::{Detected, SIDE, Vectors, for_each_sum},
    },
    WIDEST,
};

/// The outputs whose sums, with those of four rows, fit into 12 of the 16 registers.
pub(super) const OUTPUTS: usize = WIDEST;

/// Widens weights of one output to F32, in the order in which `products` reads them. The caller has checked the lengths.
pub(super) fn widen<S: Vectors>(_: Detected, weights: &[u8], place: usize, to: &mut [f32]) {
    let of_output = to.len() / OUTPUTS;
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { widen_blocks::<S>(weights, &mut to[place * of_output..][..of_output]) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn widen_blocks<S: Vectors>(weights: &[u8], to: &mut [f32]) {
    let mut last = [0_u8; 4 * BLOCK];
    let (blocks, rest) = (weights.chunks_exact(BLOCK * S::BYTES), weights.len() % (BLOCK * S::BYTES));
    last[..rest].copy_from_slice(blocks.remainder());
    let last = (rest > 0).then_some(&last[..BLOCK * S::BYTES]);
    for (bytes, to) in blocks.chain(last).zip(to.as_chunks_mut::<BLOCK>().0) {
        for (quarter, to) in to.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
            // SAFETY: `bytes` is a whole block, and `to` takes eight numbers.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), S::quarter(bytes.as_ptr(), quarter / 2, quarter % 2))
            };
        }
    }
}

/// Computes the products of up to eight rows with the widened weights of some outputs. The caller has checked the lengths.
pub(super) fn products(
    detected: Detected,
    group: Group<'_>,
    weights: &[f32],
    sums: &mut [[f32; GROUP]; WIDEST],
) {
    let mut of_outputs: [&[u8]; OUTPUTS] = [&[]; _];
    for (bytes, weights) in of_outputs.iter_mut().zip(weights.chunks_exact(weights.len() / OUTPUTS)) {
        *bytes = as_bytes(weights);
    }
    for_each_sum::<F32>(detected, group, &of_outputs, None, |row, output, sum| sums[output][row] = sum);
}
