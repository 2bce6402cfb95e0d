//! The tensors of a `.safetensors` file.

use std::{collections::HashMap, fs::File};

use inject_models::{
    FloatFormat,
    checkpoint::{Header as FileHeader, HeaderError, LONGEST_HEADER},
};
use safetensors::Dtype;

use super::{
    ForeignProblem,
    arrays::{Archive, Array, Content, Elements},
    encoding::{ByteOrder, Encoding},
};

/// The bytes before the header.
const PREFIX: u64 = 8;

pub(super) fn read(file: File) -> Result<Archive, ForeignProblem> {
    let length = file.metadata()?.len();
    let header = FileHeader::read(&file).map_err(|error| problem(length, error))?;
    let arrays = header.tensors().iter().map(|(name, tensor)| {
        Array::contiguous(name, elements(tensor.dtype), &tensor.shape, 0, tensor.bytes.start)
    });
    let arrays = arrays.collect();
    let metadata = header.metadata().clone();
    Ok(Archive { contents: vec![Content::File(file)], arrays, lists: HashMap::new(), metadata })
}

fn elements(dtype: Dtype) -> Elements {
    let byte_order = ByteOrder::Little;
    if let Some(format) = FloatFormat::of_safetensors(dtype) {
        return Elements::Float(Encoding { format, byte_order });
    }
    let signed = match dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => true,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => false,
        Dtype::BOOL => return Elements::Truth,
        other => return Elements::Other(other.to_string()),
    };
    Elements::Integer { bytes: dtype.bitsize() / 8, signed, byte_order }
}

/// Returns the problem of a file of states for an error of its header.
fn problem(length: u64, error: HeaderError) -> ForeignProblem {
    match error {
        HeaderError::Io(source) => ForeignProblem::Io(source),
        HeaderError::TooShort { found } => ForeignProblem::HeaderCutOff { found, expected: PREFIX },
        HeaderError::TooLong { found, .. } if found > LONGEST_HEADER => {
            ForeignProblem::HeaderTooLong { found, limit: LONGEST_HEADER }
        }
        HeaderError::TooLong { found, .. } => {
            ForeignProblem::HeaderCutOff { found: length, expected: PREFIX + found }
        }
        HeaderError::Surplus { found, expected } => {
            ForeignProblem::Length { expected: u128::from(length - expected + found), found: length }
        }
        // The tensor begins where it should and ends after the file.
        HeaderError::Place { found: (first, last), begin, end, .. }
            if first as u64 == begin && first <= last && last as u64 > end =>
        {
            ForeignProblem::Length { expected: u128::from(length - end) + last as u128, found: length }
        }
        source => ForeignProblem::SafetensorsHeader { source },
    }
}
