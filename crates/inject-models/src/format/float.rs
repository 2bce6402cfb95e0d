//! Floating-point formats.

use std::{fmt, str::FromStr};

use burn::tensor::DType;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;

use super::{UnknownFormat, named};

/// A floating-point format.
///
/// Rounding is to nearest, ties to even. Magnitudes below the smallest normal number become subnormal or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FloatFormat {
    /// IEEE 754 half precision: 11 significant bits, magnitudes up to 65,504.
    F16,
    /// The upper half of a single: 8 significant bits, nearly the range of single precision.
    Bf16,
    /// IEEE 754 single precision: 24 significant bits.
    F32,
    /// IEEE 754 double precision: 53 significant bits.
    F64,
}

impl FloatFormat {
    /// Returns all formats, the narrowest first.
    pub fn all() -> &'static [FloatFormat] {
        &[FloatFormat::F16, FloatFormat::Bf16, FloatFormat::F32, FloatFormat::F64]
    }

    /// Returns the name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            FloatFormat::F16 => "f16",
            FloatFormat::Bf16 => "bf16",
            FloatFormat::F32 => "f32",
            FloatFormat::F64 => "f64",
        }
    }

    /// Returns the size of one number.
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn bytes(self) -> usize {
        match self {
            FloatFormat::F16 | FloatFormat::Bf16 => 2,
            FloatFormat::F32 => 4,
            FloatFormat::F64 => 8,
        }
    }

    /// Returns the number nearest to `value` that the format has. It is infinite if `value` exceeds the format.
    pub fn round(self, value: f64) -> f64 {
        match self {
            FloatFormat::F16 => f16::from_f64(value).to_f64(),
            FloatFormat::Bf16 => bf16::from_f64(value).to_f64(),
            FloatFormat::F32 => f64::from(value as f32),
            FloatFormat::F64 => value,
        }
    }

    /// Returns an upper bound on the distance between a number of this format and the number that was rounded to it. The
    /// bound is infinite for a number at the [overflow](FloatFormat::overflow).
    ///
    /// It is half a unit in the last place: relative for normal numbers (exact at powers of two, up to twice too wide
    /// between them), and absolute for subnormal ones.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::FloatFormat;
    ///
    /// assert_eq!(FloatFormat::F16.rounding_error(-8.0), 8.0 / 2048.0);
    /// assert_eq!(FloatFormat::F16.rounding_error(0.0), 2f64.powi(-25));
    /// let exceeding = FloatFormat::F16.within_range(f64::NEG_INFINITY);
    /// assert_eq!((exceeding, FloatFormat::F16.rounding_error(exceeding)), (-65_520.0, f64::INFINITY));
    /// ```
    pub fn rounding_error(self, value: f64) -> f64 {
        if self.overflow().is_some_and(|overflow| value.abs() >= overflow) {
            return f64::INFINITY;
        }
        let (relative, absolute) = match self {
            FloatFormat::F16 => (2f64.powi(-11), 2f64.powi(-25)),
            FloatFormat::Bf16 => (2f64.powi(-8), 2f64.powi(-134)),
            FloatFormat::F32 => (2f64.powi(-24), 2f64.powi(-150)),
            // Half of the smallest double is not a double.
            FloatFormat::F64 => (2f64.powi(-53), f64::from_bits(1)),
        };
        (value.abs() * relative).max(absolute)
    }

    /// Returns the smallest magnitude that rounds to infinity, for a format whose range the states of real models exceed.
    /// That is F16: its largest number is 65,504, and some coordinates of Gemma-3-270M exceed 80,000.
    ///
    /// # Source
    ///
    /// IEEE 754, rounding to nearest: halfway to the number that one more exponent would give.
    pub fn overflow(self) -> Option<f64> {
        (self == FloatFormat::F16).then_some(65_520.0)
    }

    /// Returns `value`, or the [overflow](FloatFormat::overflow) with its sign if `value` is infinite because it exceeded
    /// the format.
    pub fn within_range(self, value: f64) -> f64 {
        match self.overflow() {
            Some(overflow) if value.is_infinite() => overflow.copysign(value),
            _ => value,
        }
    }

    /// Writes numbers in this format, little-endian, in place of the contents of `bytes`.
    ///
    /// # Errors
    ///
    /// Fails with the first number that is not finite or rounds to infinity.
    pub fn encode(self, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), Unrepresentable> {
        refuse(values, values, |value| !value.is_finite())?;
        match self {
            FloatFormat::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                refuse(values, &halves, |half| half.is_infinite())?;
                lay_out(&halves, f16::to_le_bytes, bytes);
            }
            FloatFormat::Bf16 => {
                let mut halves = vec![bf16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                refuse(values, &halves, |half| half.is_infinite())?;
                lay_out(&halves, bf16::to_le_bytes, bytes);
            }
            FloatFormat::F32 => lay_out(values, f32::to_le_bytes, bytes),
            FloatFormat::F64 => lay_out(values, |value| f64::from(value).to_le_bytes(), bytes),
        }
        Ok(())
    }

    /// Reads little-endian numbers of this format as F32, which is exact for all formats except F64.
    ///
    /// # Panics
    ///
    /// Panics if `bytes` does not hold exactly as many numbers as `values`.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) {
        assert_eq!(bytes.len(), values.len() * self.bytes(), "{self}: bytes and numbers must agree");
        match self {
            FloatFormat::F16 => take_up(values, bytes, |raw| f16::from_le_bytes(raw).to_f32()),
            FloatFormat::Bf16 => take_up(values, bytes, |raw| bf16::from_le_bytes(raw).to_f32()),
            FloatFormat::F32 => take_up(values, bytes, f32::from_le_bytes),
            FloatFormat::F64 => take_up(values, bytes, |raw| f64::from_le_bytes(raw) as f32),
        }
    }

    /// Returns the format in a tensor on a device.
    pub fn dtype(self) -> DType {
        match self {
            FloatFormat::F16 => DType::F16,
            FloatFormat::Bf16 => DType::BF16,
            FloatFormat::F32 => DType::F32,
            FloatFormat::F64 => DType::F64,
        }
    }

    /// Returns the format in a safetensors file.
    pub fn safetensors(self) -> Dtype {
        match self {
            FloatFormat::F16 => Dtype::F16,
            FloatFormat::Bf16 => Dtype::BF16,
            FloatFormat::F32 => Dtype::F32,
            FloatFormat::F64 => Dtype::F64,
        }
    }

    /// Returns the format that a safetensors file names, if it is one of these.
    pub fn of_safetensors(dtype: Dtype) -> Option<FloatFormat> {
        FloatFormat::all().iter().copied().find(|format| format.safetensors() == dtype)
    }
}

impl fmt::Display for FloatFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FloatFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        named(text, FloatFormat::all(), |format| format.name())
    }
}

/// A number that a format cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("number {index} is {value}, expected a finite number within the format")]
#[non_exhaustive]
pub struct Unrepresentable {
    /// Its index among the numbers given.
    pub index: usize,
    /// The number before it was rounded.
    pub value: f32,
}

/// Finds the first of `stored` that is `bad`, and names the number it came from.
fn refuse<T: Copy>(values: &[f32], stored: &[T], bad: impl Fn(T) -> bool) -> Result<(), Unrepresentable> {
    match stored.iter().position(|&value| bad(value)) {
        Some(index) => Err(Unrepresentable { index, value: values[index] }),
        None => Ok(()),
    }
}

fn lay_out<T: Copy, const N: usize>(values: &[T], to_bytes: impl Fn(T) -> [u8; N], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(values.len() * N, 0);
    for (place, &value) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *place = to_bytes(value);
    }
}

fn take_up<const N: usize>(values: &mut [f32], bytes: &[u8], from_bytes: impl Fn([u8; N]) -> f32) {
    for (value, &raw) in values.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = from_bytes(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_spelling() {
        for &format in FloatFormat::all() {
            assert_eq!(format.to_string().parse::<FloatFormat>().unwrap(), format);
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
            assert_eq!(FloatFormat::of_safetensors(format.safetensors()), Some(format));
        }
        assert_eq!(FloatFormat::of_safetensors(Dtype::I64), None);
    }

    #[test]
    fn no_half_lies_further_from_its_neighbour_than_two_rounding_errors() {
        for bits in 0..f16::INFINITY.to_bits() - 1 {
            let (value, next) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            assert!((next - value) / 2.0 <= FloatFormat::F16.rounding_error(next), "{value}");
        }
        for bits in 0..bf16::INFINITY.to_bits() - 1 {
            let (value, next) = (bf16::from_bits(bits).to_f64(), bf16::from_bits(bits + 1).to_f64());
            assert!((next - value) / 2.0 <= FloatFormat::Bf16.rounding_error(next), "{value}");
        }
    }

    #[test]
    fn the_rounding_error_of_wider_formats_is_half_a_unit_in_the_last_place() {
        assert_eq!(FloatFormat::F32.rounding_error(1.0), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(FloatFormat::F64.rounding_error(-1.0), f64::EPSILON / 2.0);
        assert!(FloatFormat::F64.rounding_error(0.0) > 0.0);
    }

    #[test]
    fn numbers_are_little_endian_and_read_back() {
        for (format, expected) in [
            (FloatFormat::F16, vec![0x00, 0x3c, 0x00, 0xc1]),
            (FloatFormat::Bf16, vec![0x80, 0x3f, 0x20, 0xc0]),
            (FloatFormat::F32, [1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat()),
            (FloatFormat::F64, [1.0_f64.to_le_bytes(), (-2.5_f64).to_le_bytes()].concat()),
        ] {
            let (mut bytes, mut back) = (Vec::new(), [0.0; 2]);
            format.encode(&[1.0, -2.5], &mut bytes).unwrap();
            assert_eq!(bytes, expected, "{format}");
            format.decode(&bytes, &mut back);
            assert_eq!(back, [1.0, -2.5], "{format}");
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_in_every_format() {
        for format in FloatFormat::all() {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let refused = format.encode(&[0.0, 1.0, value], &mut Vec::new()).unwrap_err();
                assert_eq!((refused.index, refused.value.to_bits()), (2, value.to_bits()));
            }
        }
    }

    #[test]
    fn f16_refuses_exactly_what_rounds_to_infinity() {
        // 65520 lies midway between the largest f16, 65504, and the next step, 65536; the tie goes up.
        let below = f32::from_bits(65520_f32.to_bits() - 1);
        let mut bytes = Vec::new();
        FloatFormat::F16.encode(&[below, -below], &mut bytes).unwrap();
        assert_eq!(bytes, [f16::MAX.to_le_bytes(), f16::MIN.to_le_bytes()].concat());
        let refused = FloatFormat::F16.encode(&[0.0, 65520.0], &mut bytes).unwrap_err();
        assert_eq!(refused, Unrepresentable { index: 1, value: 65520.0 });
    }

    #[test]
    fn bf16_refuses_what_rounds_to_infinity() {
        let refused = FloatFormat::Bf16.encode(&[f32::MIN], &mut Vec::new()).unwrap_err();
        assert_eq!(refused, Unrepresentable { index: 0, value: f32::MIN });
    }
}
