//! Products with weights that are stored output by output.

use std::ops::Range;

use super::{
    super::{
        MappedMatrix,
        kernel::{GROUP, Group, Kernel, WIDEST},
        stored::BLOCK,
    },
    Begin, Packed, Target, chunks,
};
use crate::format::FloatFormat;

/// Products that are summed in one go. A group of rows of this width, and the weights beside it, stay in the nearest cache.
const CHUNK: usize = 512;
/// Outputs that one thread computes at a time. So many chunks of weights stay in the second cache. It is a multiple of every
/// number of outputs that a kernel computes at once.
pub(super) const PANEL: usize = 48;

/// The weights of one panel and one chunk of the sum.
enum Weights<'a> {
    /// As they are stored, and widened in registers.
    Stored { matrix: &'a MappedMatrix, outputs: Range<usize>, chunk: Range<usize> },
    /// Widened, each output's row `padded` numbers after the one before.
    Widened { values: &'a [f32], padded: usize },
}

/// Computes the outputs of a panel for all rows.
pub(super) fn of_panel(
    kernel: Kernel,
    matrix: &MappedMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    match packed.rows {
        0..=GROUP => of_one_group(kernel, matrix, outputs, packed, target),
        _ => of_many_groups(kernel, matrix, outputs, packed, target),
    }
}

/// Few rows: each row of weights is read once, from its beginning to its end.
fn of_one_group(
    kernel: Kernel,
    matrix: &MappedMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let at_once = kernel.outputs(packed.rows);
    for first in (0..outputs.len()).step_by(at_once) {
        let tile = first..outputs.len().min(first + at_once);
        for (begin, chunk) in chunks(matrix.inputs(), CHUNK) {
            let group = packed.group(0, chunk.clone());
            let weights = Weights::Stored { matrix, outputs: outputs.clone(), chunk };
            of_tile(kernel, group, &weights, tile.clone(), target, begin);
        }
    }
}

/// Many rows: the weights of a chunk stay in the second cache, and are read for each group of rows from there.
fn of_many_groups(
    kernel: Kernel,
    matrix: &MappedMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let mut widened = Vec::new();
    for (begin, chunk) in chunks(matrix.inputs(), CHUNK) {
        let weights = match kernel.widens_in_registers() {
            true => Weights::Stored { matrix, outputs: outputs.clone(), chunk: chunk.clone() },
            false => widen(kernel, matrix, outputs.clone(), chunk.clone(), &mut widened),
        };
        for first_row in (0..packed.rows).step_by(GROUP) {
            let group = packed.group(first_row, chunk.clone());
            let at_once = kernel.outputs(group.rows);
            for first in (0..outputs.len()).step_by(at_once) {
                let tile = first..outputs.len().min(first + at_once);
                of_tile(kernel, group, &weights, tile, target.down(first_row), begin);
            }
        }
    }
}

/// A group of rows with a few outputs of a panel.
#[inline]
fn of_tile(
    kernel: Kernel,
    group: Group<'_>,
    weights: &Weights<'_>,
    tile: Range<usize>,
    target: Target,
    begin: Begin,
) {
    let mut sums = [0.0; GROUP * WIDEST];
    let mut rows: [&[u8]; WIDEST] = [&[]; _];
    for (row, output) in rows.iter_mut().zip(tile.clone()) {
        *row = weights.row(output);
    }
    let sums = &mut sums[..group.rows * tile.len()];
    kernel.products(weights.format(), group, &rows[..tile.len()], sums);
    for (row, sums) in sums.chunks_exact(tile.len()).enumerate() {
        target.put(row, tile.start, sums, begin);
    }
}

/// Widens the weights of a chunk, for kernels that would otherwise widen them for each group of rows.
fn widen<'a>(
    kernel: Kernel,
    matrix: &MappedMatrix,
    outputs: Range<usize>,
    chunk: Range<usize>,
    to: &'a mut Vec<f32>,
) -> Weights<'a> {
    let padded = chunk.len().next_multiple_of(BLOCK);
    to.resize(outputs.len() * padded, 0.0);
    for (output, to) in outputs.zip(to.chunks_exact_mut(padded)) {
        kernel.widen(matrix.format, matrix.part(output, chunk.clone()), to);
    }
    Weights::Widened { values: to, padded }
}

impl Weights<'_> {
    fn format(&self) -> FloatFormat {
        match self {
            Weights::Stored { matrix, .. } => matrix.format,
            Weights::Widened { .. } => FloatFormat::F32,
        }
    }

    /// The weights of an output of the panel.
    fn row(&self, output: usize) -> &[u8] {
        match self {
            Weights::Stored { matrix, outputs, chunk } => matrix.part(outputs.start + output, chunk.clone()),
            Weights::Widened { values, padded } => bytes_of(&values[output * padded..][..*padded]),
        }
    }
}

/// The bytes of widened weights, which the kernel reads as it reads those of a file.
fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: every byte of a float is initialised, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

