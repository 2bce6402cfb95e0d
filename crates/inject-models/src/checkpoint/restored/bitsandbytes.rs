//! Weights that bitsandbytes quantised: NF4, FP4 and INT8.
//!
//! # Source
//!
//! github.com/bitsandbytes-foundation/bitsandbytes, release 0.50: `functional.py` (`QuantState`, `dequantize_4bit`),
//! `backends/default/ops.py` (`_dequantize_4bit_compute`) and `_ops.py` (`int8_vectorwise_dequant`).

use safetensors::Dtype;
use serde::Deserialize;

use super::{Method, Quantised, Restored, for_each_run, is_stored_as, round};
use crate::{
    checkpoint::{Checkpoint, Damage, Entry, StoredAs},
    error::ModelError,
    format::{FloatFormat, INT8_STEP},
};

/// The names of the methods.
pub(super) const FOUR_BITS: &str = "bitsandbytes, 4 bits";
pub(super) const EIGHT_BITS: &str = "bitsandbytes, 8 bits";

/// The end of the name of a description, before the name of the table.
const DESCRIPTION: &str = ".quant_state.bitsandbytes__";

/// More bytes than any description has.
const LONGEST_DESCRIPTION: usize = 1 << 16;

const BLOCK_SIZES: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Places in a table of 16 numbers, two in a byte. Blocks of them share a scale.
#[derive(Clone, Debug)]
pub(super) struct FourBits {
    table: [f32; 16],
    scales: Scales,
    block: usize,
    format: FloatFormat,
}

#[derive(Clone, Debug)]
enum Scales {
    Plain(Entry),
    /// The scales are quantised in turn: places in a table of 256 numbers, whose blocks share a scale, less an offset.
    Nested {
        codes: Entry,
        table: Entry,
        scales: Entry,
        block: usize,
        offset: f32,
    },
}

/// Whole numbers whose rows share a scale.
#[derive(Clone, Debug)]
pub(super) struct EightBits {
    pub(super) scales: Entry,
}

/// The description of a weight, as the file holds it in JSON.
#[derive(Deserialize)]
struct Description {
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f64>,
}

/// Folds the weights of 4 bits.
pub(super) fn four_bits(checkpoint: &mut Checkpoint) -> Result<usize, ModelError> {
    let described = checkpoint.tensors.keys().filter(|name| name.contains(DESCRIPTION)).cloned();
    let described: Vec<String> = described.collect();
    for name in &described {
        let weight = name.split_once(DESCRIPTION).map_or("", |(weight, _)| weight).to_owned();
        let description = describe(checkpoint, name)?;
        let of = Quantised { weight: &weight, method: FOUR_BITS };
        let codes = checkpoint.beside(of, &weight)?;
        let unfit = |checkpoint: &Checkpoint, expected: &str| checkpoint.unfit(&codes, &weight, expected);
        let numbers = description.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let packed = bytes_of_codes(&codes);
        let Some(numbers) = numbers.filter(|&numbers| numbers > 0 && packed == Some(numbers.div_ceil(2)))
        else {
            return Err(unfit(
                checkpoint,
                &format!("two codes of a weight {:?} in each byte", description.shape),
            ));
        };
        let format = match description.dtype.as_str() {
            "float32" => FloatFormat::F32,
            "float16" => FloatFormat::F16,
            "bfloat16" => FloatFormat::Bf16,
            _ => return Err(unfit(checkpoint, "a quant_state with the dtype float32, float16 or bfloat16")),
        };
        if !BLOCK_SIZES.contains(&description.blocksize) {
            return Err(unfit(checkpoint, &format!("a quant_state with a blocksize of {BLOCK_SIZES:?}")));
        }
        let table = checkpoint.floats_beside(of, &format!("{weight}.quant_map"), 16)?;
        let table: [f32; 16] = checkpoint.floats(&table)?.try_into().unwrap_or([0.0; 16]);
        let blocks = numbers.div_ceil(description.blocksize);
        let scales = scales(checkpoint, of, blocks, &description)?;
        let method =
            Method::FourBits(Box::new(FourBits { table, scales, block: description.blocksize, format }));
        insert(checkpoint, weight, codes, description.shape, method);
    }
    Ok(described.len())
}

/// The bytes of codes. They are stored as U8, or as floating-point numbers that mean nothing (`bnb_4bit_quant_storage`), for programs
/// that divide the parameters of a model by their format.
fn bytes_of_codes(codes: &Entry) -> Option<usize> {
    let size = match codes.stored {
        StoredAs::Float(format) => format.bytes(),
        _ if is_stored_as(codes, Dtype::U8) => 1,
        _ => return None,
    };
    codes.shape.iter().product::<usize>().checked_mul(size)
}

/// Folds the weights of 8 bits.
pub(super) fn eight_bits(checkpoint: &mut Checkpoint) -> Result<usize, ModelError> {
    let scaled: Vec<String> =
        checkpoint.tensors.keys().filter(|name| name.ends_with(".SCB")).cloned().collect();
    for name in &scaled {
        let stem = name.trim_end_matches(".SCB");
        let weight = format!("{stem}.weight");
        let of = Quantised { weight: &weight, method: EIGHT_BITS };
        let codes = checkpoint.beside(of, &weight)?;
        checkpoint.refuse_pickled(&codes, EIGHT_BITS)?;
        let rows = match codes.shape[..] {
            [rows, _] if is_stored_as(&codes, Dtype::I8) => rows,
            _ => return Err(checkpoint.unfit(&codes, &weight, "a matrix stored as I8")),
        };
        let scales = checkpoint.floats_beside(of, name, rows)?;
        // Releases before 0.45 may write codes in the order that a kind of GPU has them in.
        let order = format!("{stem}.weight_format");
        if let Some(entry) = checkpoint.tensors.remove(&order)
            && checkpoint.small_number(&entry) != Some(0)
        {
            return Err(checkpoint.unfit(&entry, &order, "the number 0, which stands for codes in rows"));
        }
        let shape = codes.shape.clone();
        insert(checkpoint, weight, codes, shape, Method::EightBits(EightBits { scales }));
    }
    Ok(scaled.len())
}

fn insert(checkpoint: &mut Checkpoint, name: String, codes: Entry, shape: Vec<usize>, method: Method) {
    let (file, begin) = (codes.file, codes.begin);
    let stored = StoredAs::Restored(Box::new(Restored { codes, method }));
    checkpoint.tensors.insert(name, Entry { file, stored, shape, begin });
}

fn describe(checkpoint: &mut Checkpoint, name: &str) -> Result<Description, ModelError> {
    let entry = checkpoint.beside(Quantised { weight: name, method: FOUR_BITS }, name)?;
    checkpoint.refuse_pickled(&entry, FOUR_BITS)?;
    let len = entry.shape.iter().product::<usize>();
    if !is_stored_as(&entry, Dtype::U8) || len > LONGEST_DESCRIPTION {
        return Err(checkpoint.unfit(&entry, name, &format!("at most {LONGEST_DESCRIPTION} bytes of JSON")));
    }
    let bytes = checkpoint.bytes(&entry, 0..len)?;
    serde_json::from_slice(&bytes).map_err(|source| ModelError::Damaged {
        path: checkpoint.files[entry.file].path.clone(),
        source: Damage::QuantState { tensor: name.to_owned(), source },
    })
}

fn scales(
    checkpoint: &mut Checkpoint,
    of: Quantised<'_>,
    blocks: usize,
    description: &Description,
) -> Result<Scales, ModelError> {
    let weight = of.weight;
    let name = format!("{weight}.absmax");
    let (Some(block), Some(offset)) = (description.nested_blocksize, description.nested_offset) else {
        return Ok(Scales::Plain(checkpoint.floats_beside(of, &name, blocks)?));
    };
    let codes = checkpoint.beside(of, &name)?;
    if !is_stored_as(&codes, Dtype::U8) || codes.shape.iter().product::<usize>() != blocks || block == 0 {
        return Err(checkpoint.unfit(&codes, &name, &format!("{blocks} codes stored as U8")));
    }
    let table = checkpoint.floats_beside(of, &format!("{weight}.nested_quant_map"), 256)?;
    let scales = checkpoint.floats_beside(of, &format!("{weight}.nested_absmax"), blocks.div_ceil(block))?;
    Ok(Scales::Nested { codes, table, scales, block, offset: offset as f32 })
}

impl FourBits {
    /// Reads the scales of all blocks.
    pub(super) fn scales(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>, ModelError> {
        match &self.scales {
            Scales::Plain(scales) => checkpoint.floats(scales),
            Scales::Nested { codes, table, scales, block, offset } => {
                let (table, scales) = (checkpoint.floats(table)?, checkpoint.floats(scales)?);
                let codes = checkpoint.bytes(codes, 0..codes.shape.iter().product())?;
                let scale = |(i, &code): (usize, &u8)| table[usize::from(code)] * scales[i / block] + offset;
                Ok(codes.iter().enumerate().map(scale).collect())
            }
        }
    }

    /// The number of blocks that have a scale.
    pub(super) fn blocks(&self, numbers: usize) -> usize {
        numbers.div_ceil(self.block)
    }

    /// Restores numbers from the bytes that hold their codes. The first byte holds that of number `first`.
    pub(super) fn restore(&self, scales: &[f32], codes: &[u8], first: usize, values: &mut [f32]) {
        let begin = first / 2;
        let (mut number, mut values) = (first, values);
        while !values.is_empty() {
            let block = number / self.block;
            let len = ((block + 1) * self.block - number).min(values.len());
            let (of_block, rest) = values.split_at_mut(len);
            // All numbers of a block are among 16.
            let mut table = self.table.map(|step| step * scales[block]);
            round(&mut table, self.format);
            let at = |code: u8| table[usize::from(code & 15)];
            let (lone, pairs) = of_block.split_at_mut(number % 2);
            if let [value] = lone {
                *value = at(codes[number / 2 - begin]);
            }
            let codes = &codes[number.div_ceil(2) - begin..];
            let (pairs, last) = pairs.as_chunks_mut::<2>();
            for (pair, &code) in pairs.iter_mut().zip(codes) {
                *pair = [at(code >> 4), at(code)];
            }
            if let [value] = last {
                *value = at(codes[pairs.len()] >> 4);
            }
            (number, values) = (number + len, rest);
        }
    }
}

/// Restores numbers of rows of `width`. The first has the number `first`.
pub(super) fn restore_eight(scales: &[f32], codes: &[u8], first: usize, width: usize, values: &mut [f32]) {
    for_each_run(first, width, codes, values, |row, codes, values| {
        let scale = scales[row];
        for (value, code) in values.iter_mut().zip(codes) {
            *value = f32::from(code.cast_signed()) * scale * INT8_STEP;
        }
    });
}
