//! Number formats of weights and states: names, sizes and rounding.
//!
//! A [`FloatFormat`] says of each number by itself how it is rounded. A [`NumberFormat`] may also be one whose numbers
//! share a scale, as the formats of quantised weights do.

mod code;
mod float;

use std::{fmt, str::FromStr};

use self::code::Code;
pub(crate) use self::code::INT8_STEP;
pub use self::float::{FloatFormat, Unrepresentable};

/// A number format.
///
/// The formats of 8 and 4 bits hold shares of a scale: the largest magnitude among the numbers that are rounded
/// together. The scale itself is not rounded, except in GGUF's formats, which keep it in f16.
///
/// # Source
///
/// INT8: Dettmers et al., "LLM.int8()" (arXiv 2208.07339), absmax. NF4: Dettmers et al., "QLoRA" (arXiv 2305.14314),
/// appendix E. FP4: github.com/bitsandbytes-foundation/bitsandbytes, `functional.py` (`get_4bit_type`). Q8_0, Q4_0 and
/// Q4_1: github.com/ggml-org/ggml, `src/ggml-quants.c` (`quantize_row_q8_0_ref` and the two like it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NumberFormat {
    /// A floating-point number of its own.
    Float(FloatFormat),
    /// 255 even steps between plus and minus the scale.
    Int8,
    /// The same with a scale in f16, in GGUF.
    Q8_0,
    /// 15 even steps between plus and minus the scale.
    Int4,
    /// 16 quantiles of a normal distribution, times the scale.
    Nf4,
    /// A sign, two bits of exponent and one of fraction, times the scale.
    Fp4,
    /// 16 even steps, in GGUF: eight to the number of the largest magnitude, and seven to the other side of zero.
    Q4_0,
    /// 16 even steps from the least number to the largest, in GGUF.
    Q4_1,
}

impl NumberFormat {
    /// Returns all formats, the widest first.
    pub fn all() -> &'static [NumberFormat] {
        const {
            &[
                NumberFormat::Float(FloatFormat::F64),
                NumberFormat::Float(FloatFormat::F32),
                NumberFormat::Float(FloatFormat::F16),
                NumberFormat::Float(FloatFormat::Bf16),
                NumberFormat::Int8,
                NumberFormat::Q8_0,
                NumberFormat::Int4,
                NumberFormat::Nf4,
                NumberFormat::Fp4,
                NumberFormat::Q4_0,
                NumberFormat::Q4_1,
            ]
        }
    }

    /// Returns the formats narrower than 32 bits, the widest first.
    pub fn narrow() -> &'static [NumberFormat] {
        &Self::all()[2..]
    }

    /// Returns the name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            NumberFormat::Float(float) => float.name(),
            NumberFormat::Int8 => "int8",
            NumberFormat::Q8_0 => "q8_0",
            NumberFormat::Int4 => "int4",
            NumberFormat::Nf4 => "nf4",
            NumberFormat::Fp4 => "fp4",
            NumberFormat::Q4_0 => "q4_0",
            NumberFormat::Q4_1 => "q4_1",
        }
    }

    /// Returns the size of one number in bits, without its share of the scale.
    pub fn bits(self) -> usize {
        match self {
            NumberFormat::Float(float) => 8 * float.bytes(),
            NumberFormat::Int8 | NumberFormat::Q8_0 => 8,
            NumberFormat::Int4
            | NumberFormat::Nf4
            | NumberFormat::Fp4
            | NumberFormat::Q4_0
            | NumberFormat::Q4_1 => 4,
        }
    }

    /// Rounds numbers to the nearest that the format has. The numbers share a scale if the format has one.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::NumberFormat;
    ///
    /// let mut values = [0.6, -1.4, 0.26];
    /// NumberFormat::Int4.round(&mut values);
    /// assert_eq!(values.map(|value| (value / 0.2_f64).round()), [3.0, -7.0, 1.0]); // sevenths of 1.4
    /// ```
    pub fn round(self, values: &mut [f64]) {
        match self.rounding() {
            Rounding::Each(float) => values.iter_mut().for_each(|value| *value = float.round(*value)),
            Rounding::Together(code) => code.round(values),
        }
    }

    /// Rounds weights that share a scale, as the programs do that hold weights in the format. It is [`NumberFormat::round`], except that
    /// bitsandbytes reads weights as f16 before it rounds them to INT8.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::NumberFormat;
    ///
    /// let mut weights = [0.6, -1.4, 0.26];
    /// NumberFormat::Int8.round_weights(&mut weights);
    /// let scale: f64 = 1.400_390_625; // 1.4 in f16
    /// assert_eq!(weights.map(|weight| (weight / scale * 127.0).round()), [54.0, -127.0, 24.0]);
    /// ```
    pub fn round_weights(self, weights: &mut [f64]) {
        match self {
            NumberFormat::Int8 => code::round_row_in_int8(weights),
            format => format.round(weights),
        }
    }

    /// Returns an upper bound on how far rounding moves a number, among numbers whose largest magnitude is `largest`.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::{FloatFormat, NumberFormat};
    ///
    /// assert_eq!(NumberFormat::Int8.half_step(127.0), 0.5);
    /// assert_eq!(NumberFormat::from(FloatFormat::Bf16).half_step(1.0), 1.0 / 256.0);
    /// ```
    pub fn half_step(self, largest: f64) -> f64 {
        match self.rounding() {
            Rounding::Each(float) => float.rounding_error(largest),
            Rounding::Together(code) => code.half_step(largest),
        }
    }

    fn rounding(self) -> Rounding {
        match self {
            NumberFormat::Float(float) => Rounding::Each(float),
            NumberFormat::Int8 => Rounding::Together(Code::Even(127)),
            NumberFormat::Q8_0 => Rounding::Together(Code::EvenInHalf(127)),
            NumberFormat::Int4 => Rounding::Together(Code::Even(7)),
            NumberFormat::Nf4 => Rounding::Together(Code::NF4),
            NumberFormat::Fp4 => Rounding::Together(Code::FP4),
            NumberFormat::Q4_0 => Rounding::Together(Code::SignedInHalf(8)),
            NumberFormat::Q4_1 => Rounding::Together(Code::BetweenInHalf(15)),
        }
    }
}

/// Whether numbers are rounded one by one or with a common scale.
enum Rounding {
    Each(FloatFormat),
    Together(Code),
}

impl From<FloatFormat> for NumberFormat {
    fn from(float: FloatFormat) -> Self {
        NumberFormat::Float(float)
    }
}

impl fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for NumberFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        named(text, NumberFormat::all(), |format| format.name())
    }
}

crate::serialise_as_text!(NumberFormat);

/// A text that names no number format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown number format `{found}`: expected {expected}")]
#[non_exhaustive]
pub struct UnknownFormat {
    /// The text that was given.
    pub found: String,
    /// The names of all formats, separated by commas.
    pub expected: String,
}

/// Finds a format by its name.
fn named<T: Copy>(text: &str, known: &[T], name: fn(T) -> &'static str) -> Result<T, UnknownFormat> {
    known.iter().copied().find(|&format| name(format) == text).ok_or_else(|| UnknownFormat {
        found: text.to_owned(),
        expected: known.iter().map(|&format| format!("`{}`", name(format))).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_spelling() {
        for &format in NumberFormat::all() {
            assert_eq!(format.to_string().parse::<NumberFormat>().unwrap(), format);
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
            assert_eq!(serde_json::from_value::<NumberFormat>(format.to_string().into()).unwrap(), format);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = "int3".parse::<NumberFormat>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown number format `int3`: expected `f64`, `f32`, `f16`, `bf16`, `int8`, `q8_0`, `int4`, `nf4`, `fp4`, `q4_0`, `q4_1`"
        );
    }

    #[test]
    fn no_number_moves_further_than_half_a_step() {
        let numbers: Vec<f64> = (-500..=500).map(|i| f64::from(i) * 0.004_2).collect();
        for &format in NumberFormat::all() {
            let mut rounded = numbers.clone();
            format.round(&mut rounded);
            // One rounding of f64 in the product with the scale.
            let most = format.half_step(2.1) + 2.1 * f64::EPSILON;
            let moved = numbers.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(moved <= most, "{format}: {moved} > {most}");
        }
    }
}
