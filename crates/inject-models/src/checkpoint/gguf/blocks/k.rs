//! Blocks of 256 numbers in groups of 16 or 32, each group with a scale that is itself quantised.

use super::half;

/// Scales and minima of 4 bits for groups of 16, and 2-bit numbers.
#[inline(always)]
pub(super) fn q2(block: &[u8; 84], values: &mut [f32; 256]) {
    let (scale, least) = (half(block, 80), half(block, 82));
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (scale, least) = (scale * f32::from(block[group] & 15), least * f32::from(block[group] >> 4));
        for (i, value) in values.iter_mut().enumerate() {
            *value = scale * f32::from(two_bits(&block[16..80], group * 16 + i)) - least;
        }
    }
}

/// Scales of 6 bits for groups of 16, and 3-bit numbers from -4, their highest bits apart.
#[inline(always)]
pub(super) fn q3(block: &[u8; 110], values: &mut [f32; 256]) {
    let scale = half(block, 108);
    let packed = &block[96..108];
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = if group < 8 { packed[group] & 15 } else { packed[group - 8] >> 4 };
        let high = (packed[8 + group % 4] >> (2 * (group / 4))) & 3;
        let scale = scale * (f32::from(low | high << 4) - 32.0);
        for (i, value) in (group * 16..).zip(values) {
            let highest = (block[i % 32] >> (i / 32)) & 1;
            let number = two_bits(&block[32..96], i) | highest << 2;
            *value = scale * (f32::from(number) - 4.0);
        }
    }
}

/// Scales and minima of 6 bits for groups of 32, and 4-bit numbers.
#[inline(always)]
pub(super) fn q4(block: &[u8; 144], values: &mut [f32; 256]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, least) = of_group(&block[4..16], group, scale, least);
        for (i, value) in values.iter_mut().enumerate() {
            *value = scale * f32::from(four_bits(&block[16..144], group, i)) - least;
        }
    }
}

/// As [`q4`], with the fifth bits of the numbers.
#[inline(always)]
pub(super) fn q5(block: &[u8; 176], values: &mut [f32; 256]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, least) = of_group(&block[4..16], group, scale, least);
        for (i, value) in values.iter_mut().enumerate() {
            let fifth = (block[16 + i] >> group) & 1;
            let number = four_bits(&block[48..176], group, i) | fifth << 4;
            *value = scale * f32::from(number) - least;
        }
    }
}

/// Scales of 8 bits for groups of 16, and 6-bit numbers from -32, their upper two bits apart.
#[inline(always)]
pub(super) fn q6(block: &[u8; 210], values: &mut [f32; 256]) {
    let scale = half(block, 208);
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = scale * f32::from(block[192 + group].cast_signed());
        for (i, value) in (group * 16..).zip(values) {
            let low = block[64 * (i / 128) + i % 64] >> (4 * (i / 64 % 2)) & 15;
            let number = low | two_bits(&block[128..192], i) << 4;
            *value = scale * (f32::from(number) - 32.0);
        }
    }
}

/// Number `i` of 256 with 2 bits each: 128 numbers share 32 bytes, those 32 apart share a byte.
#[inline(always)]
fn two_bits(packed: &[u8], i: usize) -> u8 {
    (packed[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3
}

/// Number `i` of a group of 32 with 4 bits each: two groups share 32 bytes.
#[inline(always)]
fn four_bits(packed: &[u8], group: usize, i: usize) -> u8 {
    (packed[32 * (group / 2) + i] >> (4 * (group % 2))) & 15
}

/// The scale and the minimum of one of eight groups, from 12 bytes that hold both in 6 bits.
#[inline(always)]
fn of_group(packed: &[u8], group: usize, scale: f32, least: f32) -> (f32, f32) {
    let (six, least_six) = match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => {
            let low = packed[group + 4];
            ((low & 15) | (packed[group - 4] >> 6 << 4), (low >> 4) | (packed[group] >> 6 << 4))
        }
    };
    (scale * f32::from(six), least * f32::from(least_six))
}
