//! The header of a `.safetensors` file: which tensor holds the states, and what stands beside it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use inject_models::{FloatFormat, Tap};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use super::{
    ForeignProblem, Header,
    encoding::{ByteOrder, Encoding},
    layout::MemoryOrder,
    zeros,
};

/// The longest header that is read.
///
/// # Source
///
/// `MAX_HEADER_SIZE` in huggingface/safetensors, `safetensors/src/tensor.rs`, release 0.8.0.
const MAX_HEADER: u64 = 100_000_000;

pub(super) fn read_header(file: &mut File, length: u64) -> Result<Header, ForeignProblem> {
    let (metadata, start) = read_metadata(file, length)?;
    let (tensor, info) = match (metadata.info("states"), metadata.info("hidden_states")) {
        (Some(info), None) => ("states", info),
        (None, Some(info)) => ("hidden_states", info),
        (Some(_), Some(_)) => return Err(ForeignProblem::TwoStates),
        (None, None) => return Err(ForeignProblem::NoStates { found: metadata.offset_keys() }),
    };
    let format = FloatFormat::of_safetensors(info.dtype)
        .ok_or_else(|| unknown_dtype(tensor, info.dtype, "F16, BF16, F32 or F64"))?;
    let token_ids = match metadata.info("token_ids") {
        Some(ids) => Some(read_token_ids(file, ids, start)?),
        None => None,
    };
    Ok(Header {
        tensor,
        encoding: Encoding { format, byte_order: ByteOrder::Little },
        order: MemoryOrder::C,
        shape: info.shape.clone(),
        start: start + info.data_offsets.0 as u64,
        taps: tap_names(&metadata)?,
        token_ids,
    })
}

/// The checked header and where the data begins: every offset after it lies inside the file.
fn read_metadata(file: &mut File, length: u64) -> Result<(Metadata, u64), ForeignProblem> {
    if length < 8 {
        return Err(ForeignProblem::HeaderCutOff { found: length, expected: 8 });
    }
    let mut header_length = [0; 8];
    file.read_exact(&mut header_length)?;
    let header_length = u64::from_le_bytes(header_length);
    if header_length > MAX_HEADER {
        return Err(ForeignProblem::HeaderTooLong { found: header_length, limit: MAX_HEADER });
    }
    let start = 8 + header_length;
    if start > length {
        return Err(ForeignProblem::HeaderCutOff { found: length, expected: start });
    }
    let mut text = zeros::<u8>(header_length as usize)?;
    file.read_exact(&mut text)?;
    // Checks that the tensors lie one behind the other and that each is as long as its shape and dtype say.
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|source| ForeignProblem::SafetensorsHeader { source })?;
    let expected = u128::from(start) + metadata.data_len() as u128;
    if expected != u128::from(length) {
        return Err(ForeignProblem::Length { expected, found: length });
    }
    Ok((metadata, start))
}

fn read_token_ids(file: &mut File, info: &TensorInfo, start: u64) -> Result<Vec<u32>, ForeignProblem> {
    if !matches!(info.shape[..], [_] | [1, _]) {
        return Err(ForeignProblem::TokenIdsShape { shape: info.shape.clone() });
    }
    let signed = match info.dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => true,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => false,
        other => return Err(unknown_dtype("token_ids", other, "an integer")),
    };
    let (from, to) = info.data_offsets;
    let mut bytes = zeros::<u8>(to - from)?;
    file.seek(SeekFrom::Start(start + from as u64))?;
    file.read_exact(&mut bytes)?;
    let ids = bytes.chunks_exact(info.dtype.bitsize() / 8).map(|id| integer(id, signed));
    ids.enumerate()
        .map(|(position, found)| found.try_into().map_err(|_| ForeignProblem::TokenId { position, found }))
        .collect()
}

/// A little-endian integer of one to eight bytes.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|&top| top >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

fn tap_names(metadata: &Metadata) -> Result<Option<Vec<Tap>>, ForeignProblem> {
    let text = |key| metadata.metadata().as_ref().and_then(|map| map.get(key));
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
