//! Blocks of 32 numbers with one scale.

use super::half;

/// A scale and 4-bit numbers from -8.
#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (i, &pair) in block[2..].iter().enumerate() {
        values[i] = scale * (f32::from(pair & 15) - 8.0);
        values[i + 16] = scale * (f32::from(pair >> 4) - 8.0);
    }
}

/// A scale, a minimum and 4-bit numbers from 0.
#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    for (i, &pair) in block[4..].iter().enumerate() {
        values[i] = scale * f32::from(pair & 15) + least;
        values[i + 16] = scale * f32::from(pair >> 4) + least;
    }
}

/// A scale, the fifth bits, and the lower four bits of numbers from -16.
#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let scale = half(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (i, &pair) in block[6..].iter().enumerate() {
        values[i] = scale * (five_bits(pair & 15, fifth, i) - 16.0);
        values[i + 16] = scale * (five_bits(pair >> 4, fifth, i + 16) - 16.0);
    }
}

/// A scale, a minimum, the fifth bits, and the lower four bits of numbers from 0.
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (i, &pair) in block[8..].iter().enumerate() {
        values[i] = scale * five_bits(pair & 15, fifth, i) + least;
        values[i + 16] = scale * five_bits(pair >> 4, fifth, i + 16) + least;
    }
}

/// A scale and 8-bit numbers.
#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (value, &number) in values.iter_mut().zip(&block[2..]) {
        *value = f32::from(number.cast_signed()) * scale;
    }
}

/// Number `i` of a block, from its lower four bits and the fifth bits of all.
#[inline(always)]
fn five_bits(low: u8, fifth: u32, i: usize) -> f32 {
    // A vector of signed numbers is converted by one instruction.
    (i32::from(low) | (((fifth >> i) & 1) as i32) << 4) as f32
}
