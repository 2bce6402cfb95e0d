//! Products with weights that are stored input by input.

use std::ops::Range;

use super::{
    super::{
        kernel::{
            GROUP, Kernel,
            by_input::{Columns, LANES, WIDEST},
        },
        plain::PlainMatrix,
        stored::{BLOCK, as_bytes},
    },
    Packed, Target, chunks,
    lines::with_room,
};
use crate::{format::FloatFormat, tuning::CHUNK_BY_INPUT};

/// Outputs that one thread computes at a time. So many chunks of weights stay in the second cache. It is a multiple of every
/// number of outputs that a kernel computes at once.
pub(super) const PANEL: usize = 24 * LANES;

/// Computes the outputs of a panel for all rows.
pub(super) fn of_panel(
    kernel: Kernel,
    matrix: &PlainMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let mut sums = [0.0; GROUP * WIDEST];
    for (begin, chunk) in chunks(matrix.inputs(), CHUNK_BY_INPUT, BLOCK) {
        for first_row in packed.first_rows() {
            let group = packed.group(first_row, chunk.clone());
            let at_once = kernel.outputs_by_input(group.rows);
            for first in outputs.clone().step_by(at_once) {
                let tile = first..outputs.end.min(first + at_once);
                let sums = &mut sums[..group.rows * tile.len()];
                let columns = matrix.columns(chunk.clone(), tile.clone());
                kernel.products_by_input(matrix.format, group, columns, sums);
                for (row, sums) in sums.chunks_exact(tile.len()).enumerate() {
                    target.put(first_row + row, first - outputs.start, sums, begin);
                }
            }
        }
    }
}

/// Computes the outputs of a panel for many rows. The weights are widened once for all of them.
pub(super) fn of_many_rows(
    kernel: Kernel,
    matrix: &PlainMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let width = PANEL.next_multiple_of(kernel.outputs_by_input(packed.group));
    with_room(CHUNK_BY_INPUT * width, |room| widened(kernel, matrix, outputs, packed, target, room));
}

/// The same, with room for the widened weights of a chunk: `[tile, input, output]`.
fn widened(
    kernel: Kernel,
    matrix: &PlainMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
    room: &mut [f32],
) {
    let at_once = kernel.outputs_by_input(packed.group);
    let mut sums = [0.0; GROUP * WIDEST];
    for (begin, chunk) in chunks(matrix.inputs(), CHUNK_BY_INPUT, BLOCK) {
        let tile_len = chunk.len() * at_once;
        for (place, input) in chunk.clone().enumerate() {
            let weights = matrix.part(input, outputs.clone());
            for (tile, weights) in weights.chunks(at_once * matrix.format.bytes()).enumerate() {
                let to =
                    &mut room[tile * tile_len + place * at_once..][..weights.len() / matrix.format.bytes()];
                kernel.widen_in_order(matrix.format, weights, to);
            }
        }
        for first_row in packed.first_rows() {
            let group = packed.group(first_row, chunk.clone());
            for (tile, first) in (0..outputs.len()).step_by(at_once).enumerate() {
                let width = at_once.min(outputs.len() - first);
                let widened = &room[tile * tile_len..][..(chunk.len() - 1) * at_once + width];
                let columns = Columns {
                    bytes: as_bytes(widened),
                    stride: at_once * size_of::<f32>(),
                    inputs: chunk.len(),
                    outputs: width,
                };
                let sums = &mut sums[..group.rows * width];
                kernel.products_by_input(FloatFormat::F32, group, columns, sums);
                for (row, sums) in sums.chunks_exact(width).enumerate() {
                    target.put(first_row + row, first, sums, begin);
                }
            }
        }
    }
}
