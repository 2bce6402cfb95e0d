//! Floating-point formats.

#[cfg(test)]
mod tests;

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

/// Returns a single from which a half is rounded as from `value` itself: the number towards zero, and its last bit shows that
/// something was cut off.
///
/// `half::bf16::from_f64` and `half::f16::from_f64` do not see the lower half of `value`, and take numbers a little beyond a
/// tie for the tie.
///
/// # Source
///
/// Boldo and Melquiond, *Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd*, 2008.
fn single_rounded_to_odd(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) == value || !near.is_finite() {
        return near;
    }
    let beyond = f64::from(near).abs() > value.abs();
    f32::from_bits((near.to_bits() - u32::from(beyond)) | 1)
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
            FloatFormat::F16 => f16::from_f32(single_rounded_to_odd(value)).to_f64(),
            FloatFormat::Bf16 => bf16::from_f32(single_rounded_to_odd(value)).to_f64(),
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
    /// Its index among the given numbers.
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
