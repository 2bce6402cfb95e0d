//! Quantised weights in safetensors files, restored while they are read.
//!
//! Such a weight has other tensors beside it: scales, a table, a description. All of them become one entry of the checkpoint, with the
//! shape of the weight that was quantised. The numbers are those that the library itself restores, roundings included.

mod bitsandbytes;
mod float8;
mod rows;

use std::ops::Range;

use safetensors::Dtype;

pub(super) use self::float8::{FP8, float8_without_scales, leave_out_activations};
use self::{
    bitsandbytes::{EightBits, FourBits},
    float8::Float8,
};
use super::{Checkpoint, Damage, Entry, StoredAs, Values, header};
use crate::{error::ModelError, format::FloatFormat};

/// A quantised weight that is restored when it is read.
#[derive(Clone, Debug)]
pub(super) struct Restored {
    codes: Entry,
    method: Method,
}

/// A weight by its name, and the name of the method.
#[derive(Clone, Copy)]
struct Quantised<'a> {
    weight: &'a str,
    method: &'static str,
}

/// The way from codes to numbers.
#[derive(Clone, Debug)]
enum Method {
    FourBits(Box<FourBits>),
    EightBits(EightBits),
    Float8(Float8),
}

/// Replaces every quantised weight that can be restored, together with the tensors beside it, by one entry. Returns the number
/// of such weights. `blocks` are the rows and columns that share a scale in FP8, if the config says so.
///
/// # Errors
///
/// Fails if a tensor beside a weight is missing or does not fit it.
pub(super) fn restore(checkpoint: &mut Checkpoint, blocks: &[[usize; 2]]) -> Result<usize, ModelError> {
    let bits = bitsandbytes::four_bits(checkpoint)? + bitsandbytes::eight_bits(checkpoint)?;
    Ok(bits + float8::float8(checkpoint, blocks)?)
}

impl Restored {
    /// The name of the method.
    pub(super) fn format(&self) -> &'static str {
        match self.method {
            Method::FourBits(_) => bitsandbytes::FOUR_BITS,
            Method::EightBits(_) => bitsandbytes::EIGHT_BITS,
            Method::Float8(_) => float8::FP8,
        }
    }

    /// Whether the codes are numbers that were cast, in the layout that they had.
    pub(super) fn is_cast(&self) -> bool {
        matches!(&self.method, Method::Float8(method) if method.is_cast())
    }

    /// Passes the values to `sink` in pieces of `piece` values, each with the number of its first value.
    pub(super) fn stream(
        &self,
        checkpoint: &Checkpoint,
        shape: &[usize],
        piece: usize,
        mut sink: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let len: usize = shape.iter().product();
        let mut values = vec![0_f32; piece.min(len)];
        let width = shape.last().copied().unwrap_or(1);
        let scales = self.scales(checkpoint)?;
        for first in (0..len).step_by(piece) {
            let values = &mut values[..piece.min(len - first)];
            let codes = self.method.codes(first..first + values.len());
            self.method.restore(&scales, &checkpoint.bytes(&self.codes, codes)?, first, width, values);
            sink(first, values)?;
        }
        Ok(())
    }

    /// Reads the scales of all codes.
    fn scales(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>, ModelError> {
        match &self.method {
            Method::FourBits(method) => method.scales(checkpoint),
            Method::EightBits(method) => checkpoint.floats(&method.scales),
            Method::Float8(method) => method.scales(checkpoint),
        }
    }
}

impl Method {
    /// The bytes that hold the codes of some numbers.
    fn codes(&self, numbers: Range<usize>) -> Range<usize> {
        match self {
            Method::FourBits(_) => numbers.start / 2..numbers.end.div_ceil(2),
            Method::EightBits(_) | Method::Float8(_) => numbers,
        }
    }

    /// Restores numbers of rows of `width` from these bytes. The first has the number `first`.
    fn restore(&self, scales: &[f32], codes: &[u8], first: usize, width: usize, values: &mut [f32]) {
        match self {
            Method::FourBits(method) => method.restore(scales, codes, first, values),
            Method::EightBits(_) => bitsandbytes::restore_eight(scales, codes, first, width, values),
            Method::Float8(method) => method.restore(scales, codes, first, width, values),
        }
    }
}

impl Checkpoint {
    /// Reads some bytes of a tensor in a safetensors file.
    fn bytes(&self, entry: &Entry, place: Range<usize>) -> Result<Vec<u8>, ModelError> {
        let file = &self.files[entry.file];
        let mut bytes = vec![0; place.len()];
        let read = match &file.values {
            Values::Safetensors(handle) => {
                header::read_at(handle, &mut bytes, entry.begin + place.start as u64)
            }
            _ => unreachable!("only tensors of safetensors files are restored"),
        };
        read.map(|()| bytes).map_err(|source| ModelError::Read { path: file.path.clone(), source })
    }

    /// Reads a tensor of one small whole number of a safetensors file. Returns `None` if it is something else.
    pub(super) fn small_number(&self, entry: &Entry) -> Option<u64> {
        match self.small_numbers(entry)?.as_slice() {
            &[number] => Some(number),
            _ => None,
        }
    }

    /// Reads a tensor of some small whole numbers of a safetensors file. Returns `None` if it is something else.
    pub(super) fn small_numbers(&self, entry: &Entry) -> Option<Vec<u64>> {
        const MOST: usize = 1 << 16;
        let size = [(Dtype::U8, 1), (Dtype::I16, 2), (Dtype::I32, 4), (Dtype::I64, 8)];
        let (_, size) = size.into_iter().find(|(dtype, _)| is_stored_as(entry, *dtype))?;
        let len = entry.shape.iter().product::<usize>();
        if len > MOST || !self.is_safetensors(entry) {
            return None;
        }
        let bytes = self.bytes(entry, 0..len * size).ok()?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Some(bytes.chunks(size).map(number).collect())
    }

    /// Reads all numbers of a tensor of floats.
    fn floats(&self, entry: &Entry) -> Result<Vec<f32>, ModelError> {
        let StoredAs::Float(format) = entry.stored else { return Ok(Vec::new()) };
        let len = entry.shape.iter().product::<usize>();
        let mut values = vec![0.0; len];
        format.decode(&self.bytes(entry, 0..len * format.bytes())?, &mut values);
        Ok(values)
    }

    /// Takes a tensor without which a weight cannot be restored out of the table.
    fn beside(&mut self, of: Quantised<'_>, name: &str) -> Result<Entry, ModelError> {
        self.tensors.remove(name).ok_or_else(|| ModelError::MissingBeside {
            path: self.path.clone(),
            tensor: name.to_owned(),
            weight: of.weight.to_owned(),
            method: of.method,
        })
    }

    /// Takes a tensor of `len` floats that belongs to a weight out of the table.
    fn floats_beside(&mut self, of: Quantised<'_>, name: &str, len: usize) -> Result<Entry, ModelError> {
        let entry = self.beside(of, name)?;
        if matches!(entry.stored, StoredAs::Float(_)) && entry.shape.iter().product::<usize>() == len {
            return Ok(entry);
        }
        Err(self.unfit(&entry, name, &format!("{len} floating-point numbers")))
    }

    /// The error for a tensor that does not fit the weight beside it.
    fn unfit(&self, entry: &Entry, name: &str, expected: &str) -> ModelError {
        ModelError::Damaged {
            path: self.files[entry.file].path.clone(),
            source: Damage::Companion {
                tensor: name.to_owned(),
                found: format!("{} {:?}", entry.stored, entry.shape),
                expected: expected.to_owned(),
            },
        }
    }

    /// Refuses codes in another file than one of safetensors.
    fn refuse_pickled(&self, codes: &Entry, method: &'static str) -> Result<(), ModelError> {
        match self.is_safetensors(codes) {
            true => Ok(()),
            false => Err(ModelError::PickledCodes { path: self.files[codes.file].path.clone(), method }),
        }
    }

    fn is_safetensors(&self, entry: &Entry) -> bool {
        matches!(self.files[entry.file].values, Values::Safetensors(_))
    }
}

/// Calls `restore` with the runs of numbers that share a run of `len`, by the number of the run: its codes and the places of its numbers.
/// It is compiled for the vector instructions of the processor, and so is `restore` if it is inlined.
#[inline(always)]
fn for_each_run(
    first: usize,
    len: usize,
    codes: &[u8],
    values: &mut [f32],
    restore: impl Fn(usize, &[u8], &mut [f32]),
) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let (mut number, mut codes, mut values) = (first, codes, values);
            while !values.is_empty() {
                let run = number / len;
                let count = ((run + 1) * len - number).min(values.len());
                let (of_run, rest) = values.split_at_mut(count);
                let (codes_of_run, rest_of_codes) = codes.split_at(count);
                restore(run, codes_of_run, of_run);
                (number, codes, values) = (number + count, rest_of_codes, rest);
            }
        },
    );
}

/// Whether a tensor has a format that only quantised weights have.
pub(super) fn is_stored_as(entry: &Entry, dtype: Dtype) -> bool {
    matches!(&entry.stored, StoredAs::Other(name) if *name == dtype.to_string())
}

/// Rounds numbers to the format in which the library computes them. The product of two numbers in F32 is already rounded once, as in the
/// library.
#[inline(always)]
fn round(values: &mut [f32], format: FloatFormat) {
    match format {
        FloatFormat::Bf16 => values.iter_mut().for_each(|value| *value = to_bf16(*value)),
        FloatFormat::F16 => {
            values.iter_mut().for_each(|value| *value = format.round(f64::from(*value)) as f32);
        }
        FloatFormat::F32 | FloatFormat::F64 => {}
    }
}

/// The nearest number of BF16, the even one of two, without a branch.
#[inline(always)]
fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    if value.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_bf16_as_everywhere() {
        // Halfway between two numbers, of which the first or the second is even.
        let halfway = [1.0, 3.0].map(|odd| 1.0 + odd * 2f32.powi(-8));
        let numbers = (0..=u32::MAX).step_by(65_521).map(f32::from_bits);
        for number in numbers.chain([0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY]).chain(halfway) {
            let expected = half::bf16::from_f32(number).to_f32();
            let found = to_bf16(number);
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{number:e}"
            );
        }
    }
}
