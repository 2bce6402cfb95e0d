//! How a value lies in the file, and how far its dtype rounded it.

use std::fmt;

use half::{bf16, f16};

use crate::store::StateDtype;

/// The dtype of the values in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceDtype {
    /// IEEE 754 half precision: 11 significant bits.
    F16,
    /// The upper half of a single: 8 significant bits.
    BF16,
    /// IEEE 754 single precision: 24 significant bits.
    F32,
    /// IEEE 754 double precision: 53 significant bits.
    F64,
}

impl SourceDtype {
    /// The size of one value in bytes.
    pub fn bytes(self) -> usize {
        match self {
            SourceDtype::F16 | SourceDtype::BF16 => 2,
            SourceDtype::F32 => 4,
            SourceDtype::F64 => 8,
        }
    }

    /// The magnitude from which on a value became an infinity when it was written, in a dtype that ends within what states reach: f16, whose
    /// largest value is 65,504. Some coordinates of Gemma-3-270M exceed 80,000.
    ///
    /// # Source
    ///
    /// IEEE 754, rounding to nearest: halfway to the value that one more exponent would give.
    pub fn overflow(self) -> Option<f64> {
        (self == SourceDtype::F16).then_some(65_520.0)
    }

    /// The value itself; of an infinity that stands for whatever exceeded the dtype, the least magnitude that does.
    pub fn within_range(self, value: f64) -> f64 {
        match self.overflow() {
            Some(overflow) if value.is_infinite() => overflow.copysign(value),
            _ => value,
        }
    }

    /// How far at most `value`, as read, lies from what the writer rounded to this dtype: infinitely far where it exceeded the dtype.
    ///
    /// Half a unit in the last place: relative for normal numbers (exact at powers of two, up to twice too
    /// wide between them), and absolute for the small ones that the dtype holds with fewer bits.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_states::foreign::SourceDtype;
    ///
    /// assert_eq!(SourceDtype::F16.rounding_error(-8.0), 8.0 / 2048.0);
    /// assert_eq!(SourceDtype::F16.rounding_error(0.0), 2f64.powi(-25));
    /// let exceeding = SourceDtype::F16.within_range(f64::NEG_INFINITY);
    /// assert_eq!((exceeding, SourceDtype::F16.rounding_error(exceeding)), (-65_520.0, f64::INFINITY));
    /// ```
    pub fn rounding_error(self, value: f64) -> f64 {
        if self.overflow().is_some_and(|overflow| value.abs() >= overflow) {
            return f64::INFINITY;
        }
        let (relative, absolute) = match self {
            SourceDtype::F16 => (2f64.powi(-11), 2f64.powi(-25)),
            SourceDtype::BF16 => (2f64.powi(-8), 2f64.powi(-134)),
            SourceDtype::F32 => (2f64.powi(-24), 2f64.powi(-150)),
            // Half of the smallest double is no double.
            SourceDtype::F64 => (2f64.powi(-53), f64::from_bits(1)),
        };
        (value.abs() * relative).max(absolute)
    }
}

impl fmt::Display for SourceDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceDtype::F16 => "F16",
            SourceDtype::BF16 => "BF16",
            SourceDtype::F32 => "F32",
            SourceDtype::F64 => "F64",
        })
    }
}

impl From<StateDtype> for SourceDtype {
    /// What a store of ours holds, to its reader.
    fn from(dtype: StateDtype) -> Self {
        match dtype {
            StateDtype::F32 => SourceDtype::F32,
            StateDtype::F16 => SourceDtype::F16,
            StateDtype::Bf16 => SourceDtype::BF16,
        }
    }
}

/// Which byte of a value comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// How the bytes of one value mean a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) dtype: SourceDtype,
    pub(super) byte_order: ByteOrder,
}

impl Encoding {
    /// The number in `bytes`, which are as many as the dtype has.
    pub(super) fn decode(self, bytes: &[u8]) -> f64 {
        let mut little = [0; 8];
        little[..bytes.len()].copy_from_slice(bytes);
        if self.byte_order == ByteOrder::Big {
            little[..bytes.len()].reverse();
        }
        let [b0, b1, b2, b3, ..] = little;
        match self.dtype {
            SourceDtype::F16 => f16::from_le_bytes([b0, b1]).to_f64(),
            SourceDtype::BF16 => bf16::from_le_bytes([b0, b1]).to_f64(),
            SourceDtype::F32 => f64::from(f32::from_le_bytes([b0, b1, b2, b3])),
            SourceDtype::F64 => f64::from_le_bytes(little),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_value_is_read_exactly_in_both_byte_orders() {
        for bits in 0..=u16::MAX {
            for (dtype, expected) in [
                (SourceDtype::F16, f64::from(f16::from_bits(bits).to_f32())),
                (SourceDtype::BF16, f64::from(f32::from_bits(u32::from(bits) << 16))),
            ] {
                let little = Encoding { dtype, byte_order: ByteOrder::Little }.decode(&bits.to_le_bytes());
                let big = Encoding { dtype, byte_order: ByteOrder::Big }.decode(&bits.to_be_bytes());
                assert!(little == expected || (little.is_nan() && expected.is_nan()), "{dtype} {bits:#06x}");
                assert!(little == big || (little.is_nan() && big.is_nan()), "{dtype} {bits:#06x}");
            }
        }
    }

    #[test]
    fn no_half_value_lies_further_from_its_neighbour_than_two_rounding_errors() {
        for bits in 0..f16::INFINITY.to_bits() - 1 {
            let (value, next) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            assert!((next - value) / 2.0 <= SourceDtype::F16.rounding_error(next), "{value}");
        }
        for bits in 0..bf16::INFINITY.to_bits() - 1 {
            let (value, next) = (bf16::from_bits(bits).to_f64(), bf16::from_bits(bits + 1).to_f64());
            assert!((next - value) / 2.0 <= SourceDtype::BF16.rounding_error(next), "{value}");
        }
    }

    #[test]
    fn a_store_of_ours_has_the_same_formats() {
        for (stored, read) in [
            (StateDtype::F32, SourceDtype::F32),
            (StateDtype::F16, SourceDtype::F16),
            (StateDtype::Bf16, SourceDtype::BF16),
        ] {
            assert_eq!(SourceDtype::from(stored), read);
            assert_eq!(read.bytes(), stored.size());
        }
    }

    #[test]
    fn the_rounding_error_of_wider_dtypes_is_half_a_unit_in_the_last_place() {
        assert_eq!(SourceDtype::F32.rounding_error(1.0), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(SourceDtype::F64.rounding_error(-1.0), f64::EPSILON / 2.0);
        assert!(SourceDtype::F64.rounding_error(0.0) > 0.0);
    }
}
