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

use super::{Method, Quantised, Restored, for_each_run, is_stored_as, round};
use crate::{
    checkpoint::{Checkpoint, Entry, StoredAs},
    error::ModelError,
    format::FloatFormat,
};

/// The name of the method.
pub(in crate::checkpoint) const FP8: &str = "FP8, 8 bits";

/// Numbers of 8 bits with scales.
#[derive(Clone, Debug)]
pub(super) struct Float8 {
    numbers: Numbers,
    scales: Scales,
    /// The rows and columns that share a scale, and the scales in a row.
    block: [usize; 2],
    scales_in_row: usize,
    format: FloatFormat,
}

#[derive(Clone, Debug)]
enum Scales {
    Stored(Entry),
    /// The numbers are read as they are.
    None,
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

/// Folds the weights in FP8. `blocks` are the rows and columns that share a scale, if the config says so.
pub(super) fn float8(checkpoint: &mut Checkpoint, blocks: &[[usize; 2]]) -> Result<usize, ModelError> {
    let found: Vec<(String, Numbers)> = checkpoint
        .tensors
        .iter()
        .filter(|(name, entry)| name.ends_with(".weight") && checkpoint.is_safetensors(entry))
        .filter_map(|(name, entry)| Some((name.clone(), Numbers::of_entry(entry)?)))
        .collect();
    for (weight, numbers) in &found {
        let inverse = format!("{weight}_scale_inv");
        let plain = format!("{weight}_scale");
        let name = if checkpoint.contains(&inverse) { inverse } else { plain };
        let of = Quantised { weight, method: FP8 };
        let scales = checkpoint.beside(of, &name)?;
        let codes = checkpoint.beside(of, weight)?;
        let StoredAs::Float(format) = scales.stored else {
            return Err(checkpoint.unfit(&scales, &name, "floating-point numbers"));
        };
        let Some((block, scales_in_row)) = grid(&codes.shape, &scales.shape, blocks) else {
            let (of_size, unsaid) = match blocks {
                [] => (
                    String::new(),
                    ", whose size the config says if several are possible (`weight_block_size`)",
                ),
                _ => (format!(" of the sizes {blocks:?}"), ""),
            };
            let expected = format!(
                "one scale, one for each row, or one for each block{of_size} of a weight {:?}{unsaid}",
                codes.shape
            );
            return Err(checkpoint.unfit(&scales, &name, &expected));
        };
        let scales = Scales::Stored(scales);
        let method = Float8 { numbers: *numbers, scales, block, scales_in_row, format };
        checkpoint.tensors.insert(weight.clone(), method.entry(codes));
    }
    if !found.is_empty() {
        leave_out_activations(checkpoint);
    }
    Ok(found.len())
}

/// Replaces tensors in FP8 without any scales by entries that are read as they are. Returns their number.
///
/// A cast to FP8 leaves such files. transformers reads them as other numbers, unless the config announces a quantisation.
///
/// # Source
///
/// Hugging Face transformers 5.24, `core_model_loading.py`.
pub(in crate::checkpoint) fn float8_without_scales(checkpoint: &mut Checkpoint) -> usize {
    let is_scale = |name: &String| name.ends_with("_scale") || name.ends_with("_scale_inv");
    if checkpoint.tensors.keys().any(is_scale) {
        return 0;
    }
    let tensors = checkpoint.tensors.iter().filter(|(_, entry)| checkpoint.is_safetensors(entry));
    let of_tensor =
        |(name, entry): (&String, &Entry)| Some((name.clone(), entry.clone(), Numbers::of_entry(entry)?));
    let found: Vec<(String, Entry, Numbers)> = tensors.filter_map(of_tensor).collect();
    let count = found.len();
    for (name, codes, numbers) in found {
        let block = [usize::MAX; 2];
        let method =
            Float8 { numbers, scales: Scales::None, block, scales_in_row: 1, format: FloatFormat::F32 };
        checkpoint.tensors.insert(name, method.entry(codes));
    }
    count
}

/// Leaves out the scales for activations and caches.
pub(in crate::checkpoint) fn leave_out_activations(checkpoint: &mut Checkpoint) {
    checkpoint.tensors.retain(|name, _| !OF_ACTIVATIONS.iter().any(|end| name.ends_with(end)));
}

/// The rows and columns of a weight that share a scale, and the scales in a row of blocks. The last blocks may be smaller.
///
/// The sizes of blocks are those that the config says. If it says none, a side is the power of two that gives the number of scales,
/// as in all published files, or an equal part of the weight, as in transformers. Where both are possible and differ, the size is
/// unknown. No two powers of two give the same number, unless it is one.
fn grid(weight: &[usize], scales: &[usize], said: &[[usize; 2]]) -> Option<([usize; 2], usize)> {
    let &[rows, columns] = weight else { return None };
    if rows == 0 || columns == 0 {
        return None;
    }
    let side = |of: usize, blocks: usize| {
        let mut powers = (0..usize::BITS).map(|power| 1_usize << power);
        let power = powers.find(|&size| of.div_ceil(size) == blocks).map(|size| size.min(of));
        let equal = (blocks > 0 && of.is_multiple_of(blocks)).then(|| of / blocks);
        match (power, equal) {
            (Some(power), Some(equal)) => (power == equal).then_some(power),
            (one, other) => one.or(other),
        }
    };
    match *scales {
        [] | [1] | [1, 1] => Some(([rows, columns], 1)),
        [of_rows] | [of_rows, 1] if of_rows == rows => Some(([1, columns], 1)),
        [down, across] if said.is_empty() => Some(([side(rows, down)?, side(columns, across)?], across)),
        [down, across] => {
            let fits =
                |size: &&[usize; 2]| [rows.div_ceil(size[0]), columns.div_ceil(size[1])] == [down, across];
            let within = |&[tall, wide]: &[usize; 2]| [tall.min(rows), wide.min(columns)];
            let mut fitting = said.iter().filter(fits).map(within);
            let first = fitting.next()?;
            // Two sizes that fit would restore different numbers.
            fitting.all(|other| other == first).then_some((first, across))
        }
        _ => None,
    }
}

impl Float8 {
    /// The number of scales of the whole matrix.
    pub(super) fn n_scales(&self) -> usize {
        match &self.scales {
            Scales::Stored(scales) => scales.shape.iter().product(),
            Scales::None => 1,
        }
    }

    /// Whether the numbers have no scales.
    pub(super) fn is_cast(&self) -> bool {
        matches!(self.scales, Scales::None)
    }

    /// Reads the scales of the whole matrix.
    pub(super) fn scales(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>, ModelError> {
        match &self.scales {
            Scales::Stored(scales) => checkpoint.floats(scales),
            Scales::None => Ok(vec![1.0]),
        }
    }

    /// The entry of a tensor whose codes these are.
    fn entry(self, codes: Entry) -> Entry {
        Entry {
            file: codes.file,
            shape: codes.shape.clone(),
            begin: codes.begin,
            stored: StoredAs::Restored(Box::new(Restored { codes, method: Method::Float8(self) })),
        }
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
    /// Those of a tensor, if it is in FP8.
    fn of_entry(entry: &Entry) -> Option<Self> {
        let is = |dtype| is_stored_as(entry, dtype);
        let known = is(Dtype::F8_E4M3).then_some(Numbers::E4M3);
        known.or_else(|| is(Dtype::F8_E5M2).then_some(Numbers::E5M2))
    }

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
        assert_eq!(grid(&[200, 160], &[4, 3], &[[64, 64]]), Some(([64, 64], 3)));
        // Two blocks of 60 rows of 100, which are not two halves.
        assert_eq!(grid(&[100, 100], &[2, 1], &[[60, 128]]), Some(([60, 100], 1)));
        assert_eq!(grid(&[100, 100], &[1, 2], &[[1, 64], [128, 64], [256, 64]]), Some(([100, 64], 2)));
        for others in [&[[32, 32]][..], &[[64, 64], [60, 60]]] {
            assert_eq!(grid(&[100, 100], &[2, 2], others), None, "{others:?}");
        }
    }

    #[test]
    fn blocks_whose_size_nothing_says_have_sides_of_powers_of_two() {
        assert_eq!(grid(&[201, 161], &[4, 2], &[]), Some(([64, 128], 2)));
        assert_eq!(grid(&[40, 32], &[5, 1], &[]), Some(([8, 32], 1)));
        // Equal parts where no power of two fits, and nothing where both do.
        assert_eq!(grid(&[72, 32], &[6, 1], &[]), Some(([12, 32], 1)));
        assert_eq!(grid(&[200, 160], &[4, 2], &[]), None);
        assert_eq!(grid(&[48, 48], &[2, 2], &[]), None);
        // Neither 32 nor 64 rows make three blocks of 100.
        assert_eq!(grid(&[100, 101], &[3, 2], &[]), None);
        assert_eq!(grid(&[100, 100], &[0, 2], &[]), None);
    }
}
