//! The bytes of one number in a file.

use half::{bf16, f16};
use inject_models::FloatFormat;

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// The format and byte order of the numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) format: FloatFormat,
    pub(super) byte_order: ByteOrder,
}

impl Encoding {
    /// Returns the number in `bytes`, which are as many as the format has. Every format fits into F64.
    pub(super) fn decode(self, bytes: &[u8]) -> f64 {
        let mut little = [0; 8];
        little[..bytes.len()].copy_from_slice(bytes);
        if self.byte_order == ByteOrder::Big {
            little[..bytes.len()].reverse();
        }
        let [b0, b1, b2, b3, ..] = little;
        match self.format {
            FloatFormat::F16 => f16::from_le_bytes([b0, b1]).to_f64(),
            FloatFormat::Bf16 => bf16::from_le_bytes([b0, b1]).to_f64(),
            FloatFormat::F32 => f64::from(f32::from_le_bytes([b0, b1, b2, b3])),
            FloatFormat::F64 => f64::from_le_bytes(little),
            // The readers of headers make no other.
            other => unreachable!("{other} in a file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_value_is_read_exactly_in_both_byte_orders() {
        for bits in 0..=u16::MAX {
            for (format, expected) in [
                (FloatFormat::F16, f64::from(f16::from_bits(bits).to_f32())),
                (FloatFormat::Bf16, f64::from(f32::from_bits(u32::from(bits) << 16))),
            ] {
                let little = Encoding { format, byte_order: ByteOrder::Little }.decode(&bits.to_le_bytes());
                let big = Encoding { format, byte_order: ByteOrder::Big }.decode(&bits.to_be_bytes());
                assert!(little == expected || (little.is_nan() && expected.is_nan()), "{format} {bits:#06x}");
                assert!(little == big || (little.is_nan() && big.is_nan()), "{format} {bits:#06x}");
            }
        }
    }
}
