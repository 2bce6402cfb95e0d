//! Weights as a file stores them, and their exact widening to F32.

use crate::format::FloatFormat;

/// Weights that are widened in one step.
pub(super) const BLOCK: usize = 32;

/// A number format of stored weights. Numbers are little-endian.
pub(super) trait Stored: Copy + Send + Sync {
    /// The size of one number.
    const BYTES: usize;
    /// The order in which a block is widened.
    const ORDER: Order;

    /// Widens the number that is stored in the first [`Self::BYTES`] bytes.
    fn number(bytes: &[u8]) -> f32;

    /// Widens a block. The compiler makes vector instructions of it where the caller has them.
    fn widen(bytes: &[u8], to: &mut [f32; BLOCK]);
}

/// The order of the numbers in a widened block. The states that are multiplied with it have the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The order of the file.
    Natural,
    /// First the numbers at even places, then those at odd ones. The two numbers of each 32 bits are then widened by one shift
    /// and one mask.
    EvenThenOdd,
}

/// The bytes of numbers, as a file would have them.
pub(super) fn as_bytes(numbers: &[f32]) -> &[u8] {
    // SAFETY: the bytes of the numbers, any of which may have any value. `Mapped::new` refuses processors of the other byte order.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bf16;
#[derive(Clone, Copy, Debug)]
pub(super) struct F16;
#[derive(Clone, Copy, Debug)]
pub(super) struct F32;

impl Order {
    /// Returns the order in which numbers of a format are held.
    pub(super) fn of(format: FloatFormat) -> Self {
        match format {
            FloatFormat::Bf16 => Bf16::ORDER,
            FloatFormat::F16 | FloatFormat::F32 | FloatFormat::F64 => Order::Natural,
        }
    }

    /// Copies numbers in their natural order into a block of this order. What is missing of the block is zero.
    pub(super) fn arrange(self, natural: &[f32], block: &mut [f32]) {
        if natural.len() < BLOCK {
            block.fill(0.0);
        }
        match self {
            Order::Natural => block[..natural.len()].copy_from_slice(natural),
            Order::EvenThenOdd => {
                let (even, odd) = block.split_at_mut(BLOCK / 2);
                let (pairs, rest) = natural.as_chunks::<2>();
                for ((pair, even), odd) in pairs.iter().zip(&mut *even).zip(odd) {
                    (*even, *odd) = (pair[0], pair[1]);
                }
                if let [last] = rest {
                    even[pairs.len()] = *last;
                }
            }
        }
    }
}

impl Stored for Bf16 {
    const BYTES: usize = 2;
    const ORDER: Order = Order::EvenThenOdd;

    #[inline(always)]
    fn number(bytes: &[u8]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16)
    }

    #[inline(always)]
    fn widen(bytes: &[u8], to: &mut [f32; BLOCK]) {
        let (even, odd) = to.split_at_mut(BLOCK / 2);
        for ((pair, even), odd) in bytes.as_chunks::<4>().0.iter().zip(even).zip(odd) {
            let pair = u32::from_le_bytes(*pair);
            (*even, *odd) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
        }
    }
}

impl Stored for F16 {
    const BYTES: usize = 2;
    const ORDER: Order = Order::Natural;

    #[inline(always)]
    fn number(bytes: &[u8]) -> f32 {
        // The bits of a half, read as those of a single, are the number times 2^-112, subnormal ones included.
        const SCALE: f32 = f32::from_bits((127 + 112) << 23);
        let half = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let (sign, magnitude) = ((half & 0x8000) << 16, half & 0x7fff);
        let finite = (f32::from_bits(magnitude << 13) * SCALE).to_bits();
        let bits = if magnitude < 0x7c00 { finite } else { 0x7f80_0000 | magnitude << 13 };
        f32::from_bits(sign | bits)
    }

    #[inline(always)]
    fn widen(bytes: &[u8], to: &mut [f32; BLOCK]) {
        for (half, to) in bytes.as_chunks::<2>().0.iter().zip(to) {
            *to = F16::number(half);
        }
    }
}

impl Stored for F32 {
    const BYTES: usize = 4;
    const ORDER: Order = Order::Natural;

    #[inline(always)]
    fn number(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    fn widen(bytes: &[u8], to: &mut [f32; BLOCK]) {
        for (number, to) in bytes.as_chunks::<4>().0.iter().zip(to) {
            *to = F32::number(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_widened_exactly() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        for (halves, bytes) in halves.chunks(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
            let (mut f16, mut bf16) = ([0.0; BLOCK], [0.0; BLOCK]);
            F16::widen(bytes, &mut f16);
            Bf16::widen(bytes, &mut bf16);
            for (place, &half) in halves.iter().enumerate() {
                let expected = half::f16::from_bits(half).to_f32();
                let found = f16[place];
                assert!(
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                    "{half:#x}"
                );
                let found = bf16[place % 2 * BLOCK / 2 + place / 2];
                assert_eq!(found.to_bits(), u32::from(half) << 16, "{half:#x}");
                assert_eq!(Bf16::number(&half.to_le_bytes()).to_bits(), u32::from(half) << 16, "{half:#x}");
            }
        }
    }

    #[test]
    fn states_get_the_order_of_widened_weights() {
        for (order, len) in [(Order::EvenThenOdd, BLOCK), (Order::EvenThenOdd, 7), (Order::Natural, 5)] {
            let natural: Vec<f32> = (0..len).map(|i| 1.0 + i as f32).collect();
            let mut block = [f32::NAN; BLOCK];
            order.arrange(&natural, &mut block);
            for place in 0..BLOCK {
                let at = match order {
                    Order::Natural => place,
                    Order::EvenThenOdd => place % 2 * BLOCK / 2 + place / 2,
                };
                assert_eq!(block[at], natural.get(place).copied().unwrap_or(0.0));
            }
        }
    }
}
