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
    for (i, number) in fives(fifth, &block[6..]) {
        values[i] = scale * (f32::from(number) - 16.0);
    }
}

/// A scale, a minimum, the fifth bits, and the lower four bits of numbers from 0.
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (i, number) in fives(fifth, &block[8..]) {
        values[i] = scale * f32::from(number) + least;
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

/// The 5-bit numbers of a block, each with its place.
#[inline(always)]
fn fives(fifth: u32, pairs: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let number = move |i: usize, low: u8| (i, low | (((fifth >> i) & 1) as u8) << 4);
    pairs.iter().enumerate().flat_map(move |(i, &pair)| [number(i, pair & 15), number(i + 16, pair >> 4)])
}
