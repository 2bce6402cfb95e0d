//! Blocks of 256 numbers in groups of 16 or 32, each group with a scale that is itself quantised.

use super::half;

/// Scales and minima of 4 bits for groups of 16, and 2-bit numbers.
#[inline(always)]
pub(super) fn q2(block: &[u8; 84], values: &mut [f32; 256]) {
    let (scale, least) = (half(block, 80), half(block, 82));
    for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (scale, least) = (scale * f32::from(block[group] & 15), least * f32::from(block[group] >> 4));
        let numbers = two_bits(&block[16..80], group);
        for (value, number) in values.iter_mut().zip(numbers) {
            *value = scale * f32::from(number) - least;
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
        let highest = sixteen(block, 16 * (group % 2)).map(|bits| (bits >> (group / 2)) & 1);
        let numbers = two_bits(&block[32..96], group);
        for ((value, number), highest) in values.iter_mut().zip(numbers).zip(highest) {
            *value = scale * (f32::from(number | highest << 2) - 4.0);
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
        let low = sixteen(block, 64 * (group / 8) + 16 * (group % 4));
        let low = low.map(|pair| pair >> (4 * (group / 4 % 2)) & 15);
        let upper = two_bits(&block[128..192], group);
        for ((value, low), upper) in values.iter_mut().zip(low).zip(upper) {
            *value = scale * (f32::from(low | upper << 4) - 32.0);
        }
    }
}

/// The 2-bit numbers of a group of 16: eight groups share 32 bytes, and those 32 numbers apart share a byte.
#[inline(always)]
fn two_bits(packed: &[u8], group: usize) -> [u8; 16] {
    let bytes = sixteen(packed, 32 * (group / 8) + 16 * (group % 2));
    bytes.map(|four| (four >> (2 * (group / 2 % 4))) & 3)
}

/// The sixteen bytes from a place on.
#[inline(always)]
fn sixteen(bytes: &[u8], begin: usize) -> [u8; 16] {
    std::array::from_fn(|i| bytes[begin + i])
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
