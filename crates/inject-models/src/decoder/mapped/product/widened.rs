//! Products with weights that are stored output by output, and widened or restored once for all rows.
//!
//! Each sum of plain numbers has the chunks and the order that it has for few rows.

use std::ops::Range;

use super::{
    super::{
        coded::{CODES_TOGETHER, CodedMatrix},
        kernel::{GROUP, Kernel, prefetch, widened::WIDEST},
        plain::PlainMatrix,
        stored::{BLOCK, as_bytes},
    },
    Begin, Packed, Target,
    by_output::PANEL,
    chunks,
    lines::with_room,
};
use crate::{format::FloatFormat, tuning::CHUNK_BY_OUTPUT};

/// A matrix of such weights.
pub(super) trait Widened {
    /// The longest chunk of a sum, and the multiple at which chunks begin.
    const CHUNKS: (usize, usize);

    fn inputs(&self) -> usize;

    /// Widens some weights of an output. `place` is the place among the outputs that are computed at once.
    fn widen(&self, kernel: Kernel, output: usize, inputs: Range<usize>, place: usize, to: &mut [f32]);

    /// The bytes of some weights of an output, if they are worth fetching in advance.
    fn bytes(&self, output: usize, inputs: Range<usize>) -> &[u8];
}

impl Widened for PlainMatrix {
    const CHUNKS: (usize, usize) = (CHUNK_BY_OUTPUT, BLOCK);

    fn inputs(&self) -> usize {
        self.width
    }

    fn widen(&self, kernel: Kernel, output: usize, inputs: Range<usize>, place: usize, to: &mut [f32]) {
        kernel.widen(self.format, self.part(output, inputs), place, to);
    }

    fn bytes(&self, output: usize, inputs: Range<usize>) -> &[u8] {
        self.part(output, inputs)
    }
}

impl Widened for CodedMatrix {
    const CHUNKS: (usize, usize) = (2 * CODES_TOGETHER, CODES_TOGETHER);

    fn inputs(&self) -> usize {
        self.width()
    }

    fn widen(&self, kernel: Kernel, output: usize, inputs: Range<usize>, place: usize, to: &mut [f32]) {
        let mut numbers = [0.0; Self::CHUNKS.0];
        let numbers = &mut numbers[..inputs.len()];
        self.restore(output, inputs, numbers);
        kernel.widen(FloatFormat::F32, as_bytes(numbers), place, to);
    }

    /// None: codes are few bytes, in the order in which they are read.
    fn bytes(&self, _: usize, _: Range<usize>) -> &[u8] {
        &[]
    }
}

/// Computes the outputs of a panel for all rows. The panel `next` comes after it.
pub(super) fn of_panel<M: Widened>(
    kernel: Kernel,
    matrix: &M,
    outputs: Range<usize>,
    next: Range<usize>,
    packed: &Packed,
    target: Target,
) {
    let of_weights = M::CHUNKS.0 * PANEL.next_multiple_of(kernel.outputs_of_widened());
    let of_sums = packed.first_rows().len() * GROUP * outputs.len();
    with_room(of_weights + of_sums, |room| {
        let room = room.split_at_mut(of_weights);
        in_room(kernel, matrix, outputs, next, packed, target, room);
    });
}

/// The same, with room for the widened weights of a chunk, `[tile, half a block, output, place in the half]`, and for the sums of
/// the panel, `[group of rows, output, row]`.
fn in_room<M: Widened>(
    kernel: Kernel,
    matrix: &M,
    outputs: Range<usize>,
    next: Range<usize>,
    packed: &Packed,
    target: Target,
    (weights, sums): (&mut [f32], &mut [f32]),
) {
    let (longest, block) = M::CHUNKS;
    let at_once = kernel.outputs_of_widened();
    let tiles = outputs.len().div_ceil(at_once);
    let groups = packed.first_rows().len();
    let mut chunks = chunks(matrix.inputs(), longest, block).peekable();
    let first_chunk = chunks.peek().map_or(0..0, |(_, chunk)| chunk.clone());
    while let Some((begin, chunk)) = chunks.next() {
        let tile_len = chunk.len().next_multiple_of(BLOCK) * at_once;
        let weights = &mut weights[..tiles * tile_len];
        for (place, output) in outputs.clone().enumerate() {
            let to = &mut weights[place / at_once * tile_len..][..tile_len];
            matrix.widen(kernel, output, chunk.clone(), place % at_once, to);
        }

        // The weights that are widened next arrive while these are multiplied.
        let (outputs_ahead, chunk_ahead) = match chunks.peek() {
            Some((_, chunk)) => (outputs.clone(), chunk.clone()),
            None => (next.clone(), first_chunk.clone()),
        };
        let mut ahead = outputs_ahead.flat_map(|output| {
            let bytes = matrix.bytes(output, chunk_ahead.clone());
            bytes.chunks(64)
        });
        let bytes_ahead = outputs.len() * matrix.bytes(outputs.start, chunk_ahead.clone()).len();
        let lines_of_a_tile = (bytes_ahead / 64).div_ceil(groups * tiles) + 1;

        let mut sums = sums.chunks_exact_mut(GROUP);
        for first_row in packed.first_rows() {
            let group = packed.group(first_row, chunk.clone());
            for (tile, weights) in weights.chunks_exact(tile_len).enumerate() {
                ahead.by_ref().take(lines_of_a_tile).for_each(prefetch);
                let mut of_tile = [[0.0; GROUP]; WIDEST];
                kernel.products_of_widened(group, weights, &mut of_tile);
                let of_tile = &of_tile[..at_once.min(outputs.len() - tile * at_once)];
                for (of_output, to) in of_tile.iter().zip(&mut sums) {
                    match begin {
                        Begin::First => to.copy_from_slice(of_output),
                        Begin::Later => to.iter_mut().zip(of_output).for_each(|(to, sum)| *to += sum),
                    }
                }
            }
        }
    }
    for (first_row, sums) in packed.first_rows().zip(sums.chunks_exact(GROUP * outputs.len())) {
        for row in 0..packed.group.min(packed.rows - first_row) {
            target.put_all(first_row + row, sums[row..].iter().step_by(GROUP));
        }
    }
}
