//! The head of a GGUF file: its metadata and its table of tensors, checked against the length of the file.
//!
//! # Source
//!
//! The layout is that of github.com/ggml-org/ggml, `docs/gguf.md`. The rules for the places of tensors are those of
//! `gguf_init_from_file` in `src/gguf.cpp` there.

use std::{collections::BTreeMap, ops::Range};

use super::{MAGIC, blocks::Blocks, cursor::Cursor, error::GgufError, value::Value};

/// The metadata and the tensors of a file. Nothing in it needs another check.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, Placed>,
    /// The bytes of the metadata about the tokenizer.
    pub(super) tokenizer: Vec<Range<usize>>,
}

/// A tensor in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) blocks: Blocks,
    /// The shape, the outermost dimension first.
    pub(super) shape: Vec<usize>,
    pub(super) place: Range<usize>,
}

/// A tensor before its place is checked.
struct Listed {
    name: String,
    blocks: Blocks,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

/// The bytes of the shortest key with its value, and of the shortest entry of the table.
const SHORTEST_KEY: u64 = 8 + 4 + 1;
const SHORTEST_ENTRY: u64 = 8 + 4 + 8 + 4 + 8;

const DEFAULT_ALIGNMENT: u64 = 32;

/// Most keys and most tensors. Each takes several times as much memory as space in the file. Known files have less than a
/// hundred keys, and a few thousand tensors.
const MOST_KEYS: u64 = 1 << 14;
const MOST_TENSORS: u64 = 1 << 18;

/// More numbers than any file holds, and few enough that no size overflows.
const MOST_NUMBERS: u64 = 1 << 48;

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Result<Head, GgufError> {
        let mut cursor = Cursor::new(bytes);
        let magic = cursor.array()?;
        if magic != MAGIC {
            return Err(GgufError::Magic { found: magic });
        }
        match cursor.u32()? {
            2 | 3 => {}
            found if found.swap_bytes() < 1 << 16 && found >= 1 << 16 => return Err(GgufError::BigEndian),
            found => return Err(GgufError::Version { found }),
        }
        let tensors = at_most(MOST_TENSORS, "tensors", cursor.count("tensors", SHORTEST_ENTRY)?)?;
        let keys = at_most(MOST_KEYS, "keys", cursor.count("keys", SHORTEST_KEY)?)?;
        let (mut metadata, mut tokenizer) = (BTreeMap::new(), Vec::new());
        for _ in 0..keys {
            let begin = cursor.position();
            let key = cursor.name()?;
            let value = Value::read(&mut cursor, &key)?;
            if key.starts_with("tokenizer.ggml.") {
                tokenizer.push(begin..cursor.position());
            }
            if metadata.insert(key.clone(), value).is_some() {
                return Err(GgufError::KeyTwice { key });
            }
        }
        let alignment = alignment(&metadata)?;
        let mut listed = Vec::new();
        for _ in 0..tensors {
            listed.push(entry(&mut cursor)?);
        }
        let data = (cursor.position() as u64).next_multiple_of(alignment);
        let tensors = places(listed, data, alignment, bytes.len())?;
        Ok(Head { metadata, tensors, tokenizer })
    }
}

fn at_most(most: u64, items: &'static str, found: u64) -> Result<u64, GgufError> {
    if found <= most { Ok(found) } else { Err(GgufError::TooMany { items, found, most }) }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Unsigned(found)) if found.is_power_of_two() && *found <= 1 << 30 => Ok(*found),
        Some(Value::Unsigned(found)) => Err(GgufError::Alignment { found: found.to_string() }),
        Some(found) => Err(GgufError::Alignment { found: format!("{found:?}") }),
    }
}

/// Reads one entry of the table of tensors.
fn entry(cursor: &mut Cursor<'_>) -> Result<Listed, GgufError> {
    let name = cursor.name()?;
    let dimensions = cursor.u32()?;
    if !(1..=4).contains(&dimensions) {
        return Err(GgufError::Dimensions { tensor: name, found: dimensions });
    }
    let sizes = (0..dimensions).map(|_| cursor.u64()).collect::<Result<Vec<u64>, _>>()?;
    let number = cursor.u32()?;
    let offset = cursor.u64()?;
    let Some(numbers) = sizes
        .iter()
        .try_fold(1_u64, |product, &size| product.checked_mul(size))
        .filter(|&product| (1..MOST_NUMBERS).contains(&product))
    else {
        return Err(GgufError::Shape { tensor: name, found: sizes });
    };
    let Ok(blocks) = Blocks::of(number) else {
        let found = Blocks::name_of(number);
        return Err(GgufError::Format { tensor: name, found, expected: Blocks::known() });
    };
    let row = sizes[0];
    if !row.is_multiple_of(blocks.numbers() as u64) {
        return Err(GgufError::Row {
            tensor: name,
            found: row,
            block: blocks.numbers(),
            format: blocks.name(),
        });
    }
    let bytes = numbers / blocks.numbers() as u64 * blocks.bytes() as u64;
    let shape = sizes.iter().rev().map(|&size| size as usize).collect();
    Ok(Listed { name, blocks, shape, offset, bytes })
}

/// Checks that the tensors lie one after another, each aligned, and within the file.
fn places(
    listed: Vec<Listed>,
    data: u64,
    alignment: u64,
    length: usize,
) -> Result<BTreeMap<String, Placed>, GgufError> {
    let mut tensors = BTreeMap::new();
    let mut expected = 0_u64;
    for Listed { name, blocks, shape, offset, bytes } in listed {
        if offset != expected {
            return Err(GgufError::Place { tensor: name, found: offset, expected });
        }
        // No tensor is longer than 2^51 bytes and each ends within the file, so that no sum overflows.
        let end = data + offset + bytes;
        if end > length as u64 {
            return Err(GgufError::Beyond { tensor: name, found: end, length });
        }
        expected = (offset + bytes).next_multiple_of(alignment);
        let place = (data + offset) as usize..end as usize;
        if tensors.insert(name.clone(), Placed { blocks, shape, place }).is_some() {
            return Err(GgufError::TensorTwice { tensor: name });
        }
    }
    Ok(tensors)
}
