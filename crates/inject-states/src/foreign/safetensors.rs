//! The header of a `.safetensors` file: the tensor of states, and the ids and names beside it.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use inject_models::{
    FloatFormat, Tap,
    checkpoint::{Header as FileHeader, HeaderError, LONGEST_HEADER, StoredTensor},
};
use safetensors::Dtype;

use super::{
    ForeignProblem, Header,
    encoding::{ByteOrder, Encoding},
    layout::MemoryOrder,
    zeros,
};

/// The bytes before the header.
const PREFIX: u64 = 8;

pub(super) fn read_header(file: &mut File, length: u64) -> Result<Header, ForeignProblem> {
    let header = FileHeader::read(file).map_err(|error| problem(length, error))?;
    let tensors = header.tensors();
    let (tensor, states) = match (tensors.get("states"), tensors.get("hidden_states")) {
        (Some(states), None) => ("states", states),
        (None, Some(states)) => ("hidden_states", states),
        (Some(_), Some(_)) => return Err(ForeignProblem::TwoStates),
        (None, None) => return Err(ForeignProblem::NoStates { found: tensors.keys().cloned().collect() }),
    };
    let format = FloatFormat::of_safetensors(states.dtype)
        .ok_or_else(|| unknown_dtype(tensor, states.dtype, "F16, BF16, F32 or F64"))?;
    let token_ids = tensors.get("token_ids").map(|ids| read_token_ids(file, ids)).transpose()?;
    Ok(Header {
        tensor,
        encoding: Encoding { format, byte_order: ByteOrder::Little },
        order: MemoryOrder::C,
        shape: states.shape.clone(),
        start: states.bytes.start,
        taps: tap_names(header.metadata())?,
        token_ids,
    })
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

fn read_token_ids(file: &mut File, ids: &StoredTensor) -> Result<Vec<u32>, ForeignProblem> {
    if !matches!(ids.shape[..], [_] | [1, _]) {
        return Err(ForeignProblem::TokenIdsShape { shape: ids.shape.clone() });
    }
    let signed = match ids.dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => true,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => false,
        other => return Err(unknown_dtype("token_ids", other, "an integer")),
    };
    let mut bytes = zeros::<u8>((ids.bytes.end - ids.bytes.start) as usize)?;
    file.seek(SeekFrom::Start(ids.bytes.start))?;
    file.read_exact(&mut bytes)?;
    let ids = bytes.chunks_exact(ids.dtype.bitsize() / 8).map(|id| integer(id, signed));
    ids.enumerate()
        .map(|(position, found)| found.try_into().map_err(|_| ForeignProblem::TokenId { position, found }))
        .collect()
}

/// Returns a little-endian integer of one to eight bytes.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|&top| top >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

fn tap_names(metadata: &HashMap<String, String>) -> Result<Option<Vec<Tap>>, ForeignProblem> {
    let text = |key| metadata.get(key);
    let taps = match (text("tap"), text("taps")) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(ForeignProblem::TapAndTaps),
        (Some(name), None) => vec![name.parse::<Tap>()?],
        (None, Some(list)) => list.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>()?,
    };
    let mut seen = std::collections::HashSet::new();
    match taps.iter().find(|&&tap| !seen.insert(tap)) {
        Some(&tap) => Err(ForeignProblem::RepeatedTap { tap }),
        None => Ok(Some(taps)),
    }
}

fn unknown_dtype(tensor: &'static str, found: Dtype, expected: &'static str) -> ForeignProblem {
    ForeignProblem::Dtype { tensor, found: found.to_string(), expected }
}
