//! How a state's numbers lie on disk.

use std::{fmt, str::FromStr};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;

use super::error::StoreError;

/// The type of the numbers in a store's tap files.
///
/// The half types round to nearest, ties to even; values too small for them become subnormal or zero. What
/// would round to infinity is refused when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateDtype {
    /// 32 bits, as computed: nothing is lost.
    F32,
    /// IEEE half precision: 11 significant bits, up to 65504.
    F16,
    /// The upper half of an f32: 8 significant bits, nearly the whole range of f32.
    Bf16,
}

impl StateDtype {
    /// The size of one number.
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            StateDtype::F32 => 4,
            StateDtype::F16 | StateDtype::Bf16 => 2,
        }
    }

    /// The name of the type in a safetensors header.
    pub(super) fn in_header(self) -> Dtype {
        match self {
            StateDtype::F32 => Dtype::F32,
            StateDtype::F16 => Dtype::F16,
            StateDtype::Bf16 => Dtype::BF16,
        }
    }

    /// Replaces `bytes` by `values` in this type, little-endian.
    ///
    /// # Errors
    ///
    /// [`Unstorable`], with the first such value, when one is not finite or would round to infinity.
    pub(super) fn encode(self, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), Unstorable> {
        refuse(values, values, |value| !value.is_finite())?;
        match self {
            StateDtype::F32 => lay_out(values, f32::to_le_bytes, bytes),
            StateDtype::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                refuse(values, &halves, |half| half.is_infinite())?;
                lay_out(&halves, f16::to_le_bytes, bytes);
            }
            StateDtype::Bf16 => {
                let mut halves = vec![bf16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                refuse(values, &halves, |half| half.is_infinite())?;
                lay_out(&halves, bf16::to_le_bytes, bytes);
            }
        }
        Ok(())
    }
}

impl fmt::Display for StateDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StateDtype::F32 => "f32",
            StateDtype::F16 => "f16",
            StateDtype::Bf16 => "bf16",
        })
    }
}

impl FromStr for StateDtype {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "f32" => Ok(StateDtype::F32),
            "f16" => Ok(StateDtype::F16),
            "bf16" => Ok(StateDtype::Bf16),
            _ => Err(StoreError::UnknownDtype { found: text.to_owned() }),
        }
    }
}

/// A value that the dtype cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unstorable {
    /// Where it is among the values given.
    pub(super) index: usize,
    /// What it is.
    pub(super) value: f32,
}

/// Finds the first of `stored` that is `bad`, and names the value it came from.
fn refuse<T: Copy>(values: &[f32], stored: &[T], bad: impl Fn(T) -> bool) -> Result<(), Unstorable> {
    match stored.iter().position(|&value| bad(value)) {
        Some(index) => Err(Unstorable { index, value: values[index] }),
        None => Ok(()),
    }
}

fn lay_out<T: Copy, const N: usize>(values: &[T], to_bytes: impl Fn(T) -> [u8; N], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(values.len() * N, 0);
    let (places, _) = bytes.as_chunks_mut::<N>();
    for (place, &value) in places.iter_mut().zip(values) {
        *place = to_bytes(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [StateDtype; 3] = [StateDtype::F32, StateDtype::F16, StateDtype::Bf16];

    #[test]
    fn text_and_json_have_the_same_spelling() {
        for dtype in ALL {
            assert_eq!(dtype.to_string().parse::<StateDtype>().unwrap(), dtype);
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.to_string());
        }
    }

    #[test]
    fn an_unknown_name_is_told_what_is_known() {
        let error = "f64".parse::<StateDtype>().unwrap_err().to_string();
        assert!(error.contains("`f64`") && error.contains("`f32`, `f16` or `bf16`"), "{error}");
    }

    #[test]
    fn numbers_are_little_endian() {
        let mut bytes = Vec::new();
        StateDtype::F32.encode(&[1.0, -2.5], &mut bytes).unwrap();
        assert_eq!(bytes, [1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat());
        StateDtype::F16.encode(&[1.0, -2.5], &mut bytes).unwrap();
        assert_eq!(bytes, [0x00, 0x3c, 0x00, 0xc1]);
        StateDtype::Bf16.encode(&[1.0, -2.5], &mut bytes).unwrap();
        assert_eq!(bytes, [0x80, 0x3f, 0x20, 0xc0]);
    }

    #[test]
    fn what_is_not_finite_is_refused_in_every_dtype() {
        for dtype in ALL {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let refused = dtype.encode(&[0.0, 1.0, value], &mut Vec::new()).unwrap_err();
                assert_eq!((refused.index, refused.value.to_bits()), (2, value.to_bits()));
            }
        }
    }

    #[test]
    fn f16_refuses_exactly_what_rounds_to_infinity() {
        // 65520 lies midway between the largest f16, 65504, and the next step, 65536; the tie goes up.
        let below = f32::from_bits(65520f32.to_bits() - 1);
        let mut bytes = Vec::new();
        StateDtype::F16.encode(&[below, -below], &mut bytes).unwrap();
        assert_eq!(bytes, [f16::MAX.to_le_bytes(), f16::MIN.to_le_bytes()].concat());
        let refused = StateDtype::F16.encode(&[0.0, 65520.0], &mut bytes).unwrap_err();
        assert_eq!(refused, Unstorable { index: 1, value: 65520.0 });
    }

    #[test]
    fn bf16_refuses_what_rounds_to_infinity() {
        let refused = StateDtype::Bf16.encode(&[f32::MIN], &mut Vec::new()).unwrap_err();
        assert_eq!(refused, Unstorable { index: 0, value: f32::MIN });
    }
}
