//! Blocks of 4-bit places in a list of 16 uneven steps.

use super::half;

/// The steps.
///
/// # Source
///
/// github.com/ggml-org/llama.cpp, `gguf-py/gguf/quants.py` (`IQ4_NL.kvalues`).
const STEPS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 32 numbers with one scale.
#[inline(always)]
pub(super) fn nl(block: &[u8; 18], values: &mut [f32; 32]) {
    restore(half(block, 0), &block[2..], values);
}

/// 256 numbers in groups of 32 with a scale of 6 bits each.
#[inline(always)]
pub(super) fn xs(block: &[u8; 136], values: &mut [f32; 256]) {
    let scale = half(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
        let six = low | ((high >> (2 * group) & 3) as u8) << 4;
        restore(scale * (f32::from(six) - 32.0), &block[8 + 16 * group..][..16], values);
    }
}

#[inline(always)]
fn restore(scale: f32, pairs: &[u8], values: &mut [f32; 32]) {
    for (i, &pair) in pairs.iter().enumerate() {
        values[i] = scale * f32::from(STEPS[usize::from(pair & 15)]);
        values[i + 16] = scale * f32::from(STEPS[usize::from(pair >> 4)]);
    }
}
