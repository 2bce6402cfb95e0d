//! Products with weights that are stored output by output.

use std::ops::Range;

use super::{
    super::{
        kernel::{GROUP, Kernel, WIDEST},
        plain::PlainMatrix,
        stored::BLOCK,
    },
    Begin, Packed, Target, chunks,
};
use crate::tuning::CHUNK_BY_OUTPUT;

/// Outputs that one thread computes at a time. So many chunks of weights stay in the second cache. It is a multiple of every
/// number of outputs that a kernel computes at once.
pub(super) const PANEL: usize = 48;

/// A panel of outputs for all rows.
#[derive(Clone, Copy)]
struct Panel<'a> {
    kernel: Kernel,
    matrix: &'a PlainMatrix,
    packed: &'a Packed,
    /// The first output of the panel.
    begin: usize,
    target: Target,
}

/// Computes the outputs of a panel for all rows.
pub(super) fn of_panel(
    kernel: Kernel,
    matrix: &PlainMatrix,
    outputs: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let panel = Panel { kernel, matrix, packed, begin: outputs.start, target };
    let width = outputs.len();
    let tiles = |rows: usize| {
        let at_once = kernel.outputs(rows);
        (0..width).step_by(at_once).map(move |first| first..width.min(first + at_once))
    };
    match packed.rows {
        // Each row of weights is read once, from its beginning to its end.
        rows @ 0..=GROUP => {
            for tile in tiles(rows) {
                for (begin, chunk) in chunks(matrix.inputs(), CHUNK_BY_OUTPUT, BLOCK) {
                    let next = match chunk.end < matrix.inputs() {
                        true => chunk.len(),
                        false => tile.len() * matrix.width - chunk.start,
                    };
                    panel.compute(0, chunk, tile.clone(), next, begin);
                }
            }
        }
        // The weights of a chunk are read for each group of rows, from the second cache.
        rows => {
            for (begin, chunk) in chunks(matrix.inputs(), CHUNK_BY_OUTPUT, BLOCK) {
                for first_row in packed.first_rows() {
                    for tile in tiles(packed.group.min(rows - first_row)) {
                        let next = tile.len() * matrix.width;
                        panel.compute(first_row, chunk.clone(), tile, next, begin);
                    }
                }
            }
        }
    }
}

impl Panel<'_> {
    /// Computes a chunk of the sums of a few outputs for a group of rows. The next weights are `next` numbers after these.
    #[inline]
    fn compute(self, first_row: usize, chunk: Range<usize>, tile: Range<usize>, next: usize, begin: Begin) {
        let group = self.packed.group(first_row, chunk.clone());
        let mut weights: [&[u8]; WIDEST] = [&[]; _];
        for (weights, output) in weights.iter_mut().zip(tile.clone()) {
            *weights = self.matrix.part(self.begin + output, chunk.clone());
        }
        let mut sums = [0.0; GROUP * WIDEST];
        let sums = &mut sums[..group.rows * tile.len()];
        self.kernel.products(
            self.matrix.format,
            group,
            &weights[..tile.len()],
            next * self.matrix.format.bytes(),
            sums,
        );
        for (row, sums) in sums.chunks_exact(tile.len()).enumerate() {
            self.target.put(first_row + row, tile.start, sums, begin);
        }
    }
}
