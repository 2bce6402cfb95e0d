//! Products with weights that are stored input by input.

use std::ops::Range;

use super::{
    super::{
        MappedMatrix,
        kernel::{
            GROUP, Kernel,
            by_input::{LANES, WIDEST},
        },
    },
    Packed, Target, chunks,
};

/// Products that are summed in one chain of additions.
const CHUNK: usize = 256;
/// Outputs that one thread computes at a time. So many chunks of weights stay in the second cache. It is a multiple of every
/// number of outputs that a kernel computes at once.
pub(super) const PANEL: usize = 24 * LANES;

/// Computes the outputs of a panel for all rows.
pub(super) fn of_panel(
    kernel: Kernel,
    matrix: &MappedMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let mut sums = [0.0; GROUP * WIDEST];
    for (begin, chunk) in chunks(matrix.inputs(), CHUNK) {
        for first_row in (0..packed.rows).step_by(GROUP) {
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
