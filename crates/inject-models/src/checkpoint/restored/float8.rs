//! Weights in floating-point numbers of 8 bits, with scales.
//!
//! Only the weights were changed: activations are computed as for other checkpoints, whatever the config says of theirs.
//!
//! # Source
//!
//! The formats: Micikevicius et al., "FP8 formats for deep learning" (arXiv 2209.05433). The scales `weight_scale`:
//! github.com/vllm-project/compressed-tensors, release 0.20, `quantization/lifecycle/forward.py` (`_dequantize`): the product is
//! computed in the format of the scale. The scales of blocks, `weight_scale_inv`: Hugging Face transformers 5.23,
//! `integrations/finegrained_fp8.py` (`Fp8Dequantize`).

use std::sync::LazyLock;

use half::f16;
use safetensors::Dtype;

use super::{Method, Restored, for_each_run, is_stored_as, round};
use crate::{
    checkpoint::{Checkpoint, Entry, StoredAs},
    error::ModelError,
    format::FloatFormat,
};

/// The usual sides of a block that has a scale.
const BLOCK: usize = 128;

/// Numbers of 8 bits with scales.
#[derive(Clone, Debug)]
pub(super) struct Float8 {
    numbers: Numbers,
    pub(super) scales: Entry,
    /// The rows and columns that share a scale, and the scales in a row.
    block: [usize; 2],
    scales_in_row: usize,
    format: FloatFormat,
}

#[derive(Clone, Copy, Debug)]
enum Numbers {
    /// Four bits of exponent, three of fraction, no infinity.
    E4M3,
    /// The upper byte of a half-precision number.
    E5M2,
}

/// The ends of names of scales for activations and caches.
const OF_ACTIVATIONS: [&str; 7] = [
    ".input_scale",
    ".input_scale_ub",
    ".output_scale",
    ".activation_scale",
    ".k_scale",
    ".v_scale",
    ".q_scale",
];

/// Folds the weights in FP8. `block` is the rows and columns that share a scale, if the config says so.
pub(super) fn float8(checkpoint: &mut Checkpoint, block: Option<[usize; 2]>) -> Result<usize, ModelError> {
    let numbers = |entry: &Entry| {
        let is = |dtype| is_stored_as(entry, dtype);
        let known = is(Dtype::F8_E4M3).then_some(Numbers::E4M3);
        known.or_else(|| is(Dtype::F8_E5M2).then_some(Numbers::E5M2))
    };
    let found: Vec<(String, Numbers)> = checkpoint
        .tensors
        .iter()
        .filter(|(name, entry)| name.ends_with(".weight") && checkpoint.is_safetensors(entry))
        .filter_map(|(name, entry)| Some((name.clone(), numbers(entry)?)))
        .collect();
    for (weight, numbers) in &found {
        let inverse = format!("{weight}_scale_inv");
        let plain = format!("{weight}_scale");
        let name = if checkpoint.contains(&inverse) { inverse } else { plain };
        let scales = checkpoint.beside(&name, &[1])?;
        let codes = checkpoint.beside(weight, &[])?;
        let StoredAs::Float(format) = scales.stored else {
            return Err(checkpoint.unfit(&scales, &name, "floating-point numbers"));
        };
        let Some((block, scales_in_row)) = grid(&codes.shape, &scales.shape, block) else {
            let expected =
                format!("one scale, one for each row, or one for each block of a weight {:?}", codes.shape);
            return Err(checkpoint.unfit(&scales, &name, &expected));
        };
        let method = Float8 { numbers: *numbers, scales, block, scales_in_row, format };
        let entry = Entry {
            file: codes.file,
            shape: codes.shape.clone(),
            begin: codes.begin,
            stored: StoredAs::Restored(Box::new(Restored { codes, method: Method::Float8(method) })),
        };
        checkpoint.tensors.insert(weight.clone(), entry);
    }
    if !found.is_empty() {
        checkpoint.tensors.retain(|name, _| !OF_ACTIVATIONS.iter().any(|end| name.ends_with(end)));
    }
    Ok(found.len())
}

/// The rows and columns of a weight that share a scale, and the scales in a row of blocks. The last blocks may be smaller. If nothing
/// says how large the others are, they have the usual size, or else all have the same.
fn grid(weight: &[usize], scales: &[usize], block: Option<[usize; 2]>) -> Option<([usize; 2], usize)> {
    let &[rows, columns] = weight else { return None };
    if rows == 0 || columns == 0 {
        return None;
    }
    let side = |of: usize, blocks: usize, said: Option<usize>| match (blocks, said) {
        (0, _) => None,
        (_, Some(size)) if of.div_ceil(size) == blocks => Some(size),
        _ if of.div_ceil(BLOCK) == blocks => Some(BLOCK),
        _ if of.is_multiple_of(blocks) => Some(of / blocks),
        _ => None,
    };
    let [tall, wide] = [block.map(|[rows, _]| rows), block.map(|[_, columns]| columns)];
    match *scales {
        [] | [1] | [1, 1] => Some(([rows, columns], 1)),
        [of_rows] | [of_rows, 1] if of_rows == rows => Some(([1, columns], 1)),
        [down, across] => Some(([side(rows, down, tall)?, side(columns, across, wide)?], across)),
        _ => None,
    }
}

impl Float8 {
    /// The number of scales.
    pub(super) fn scales(&self) -> usize {
        self.scales.shape.iter().product()
    }

    /// Restores numbers of rows of `width`. The first has the number `first`.
    pub(super) fn restore(
        &self,
        scales: &[f32],
        codes: &[u8],
        first: usize,
        width: usize,
        values: &mut [f32],
    ) {
        let table = self.numbers.table();
        for_each_run(first, width, codes, values, |row, codes, values| {
            let scales = &scales[row / self.block[0] * self.scales_in_row..];
            // Runs begin with a row, but the first one.
            let column = if row == first / width { first % width } else { 0 };
            let (mut column, mut codes, mut values) = (column, codes, values);
            while !values.is_empty() {
                let block = column / self.block[1];
                let count = ((block + 1) * self.block[1] - column).min(values.len());
                let (of_block, rest) = values.split_at_mut(count);
                for (value, &code) in of_block.iter_mut().zip(codes) {
                    *value = table[usize::from(code)] * scales[block];
                }
                round(of_block, self.format);
                (column, codes, values) = (column + count, &codes[count..], rest);
            }
        });
    }
}

impl Numbers {
    /// The numbers of all bytes.
    fn table(self) -> &'static [f32; 256] {
        static E4M3: LazyLock<[f32; 256]> =
            LazyLock::new(|| std::array::from_fn(|code| Numbers::E4M3.of(code as u8)));
        static E5M2: LazyLock<[f32; 256]> =
            LazyLock::new(|| std::array::from_fn(|code| Numbers::E5M2.of(code as u8)));
        match self {
            Numbers::E4M3 => &E4M3,
            Numbers::E5M2 => &E5M2,
        }
    }

    /// The number that a byte stands for.
    fn of(self, code: u8) -> f32 {
        match self {
            Numbers::E5M2 => f16::from_bits(u16::from(code) << 8).to_f32(),
            Numbers::E4M3 => {
                let (exponent, fraction) = (code >> 3 & 15, f32::from(code & 7) / 8.0);
                let magnitude = match (exponent, code & 7) {
                    (15, 7) => f32::NAN,
                    (0, _) => fraction * 2_f32.powi(-6),
                    _ => (1.0 + fraction) * 2_f32.powi(i32::from(exponent) - 7),
                };
                if code & 128 == 0 { magnitude } else { -magnitude }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_size_that_the_config_says() {
        // Four blocks of 64 rows of 200, the last one smaller, and three of 64 columns.
        assert_eq!(grid(&[200, 160], &[4, 3], Some([64, 64])), Some(([64, 64], 3)));
        assert_eq!(grid(&[200, 160], &[4, 3], None), None);
        assert_eq!(grid(&[200, 160], &[4, 2], None), Some(([50, 128], 2)));
        assert_eq!(grid(&[192, 160], &[2, 2], None), Some(([128, 128], 2)));
    }
}
