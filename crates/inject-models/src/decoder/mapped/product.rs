//! Products of any number of rows with the rows of a mapped matrix.
//!
//! A sum is made of chunks of [`CHUNK`] products, whatever the number of rows. So a row has the same product in every batch.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    MappedMatrix,
    kernel::{GROUP, Group, Kernel, WIDEST},
    stored::{BLOCK, Order},
};
use crate::format::FloatFormat;

/// Products that are summed in one go. A group of rows of this width, and the weights beside it, stay in the nearest cache.
const CHUNK: usize = 512;
/// Outputs that one thread computes at a time. So many chunks of weights stay in the second cache. It is a multiple of every
/// number of outputs that a kernel computes at once.
const PANEL: usize = 48;
/// Fewer products than this are not worth a second thread.
const SMALLEST: usize = 1 << 17;

/// Rows of F32 in the order in which kernels read them.
struct Packed {
    values: Vec<f32>,
    rows: usize,
    /// Width in whole blocks.
    padded: usize,
}

/// The weights of one panel and one chunk of the sum.
enum Weights<'a> {
    /// As they are stored, and widened in registers.
    Stored { matrix: &'a MappedMatrix, outputs: Range<usize>, chunk: Range<usize> },
    /// Widened, each output's row `padded` numbers after the one before.
    Widened { values: &'a [f32], padded: usize },
}

/// Computes the products of rows with some rows of a matrix.
///
/// # Shapes
///
/// `x` is `[rows, d_in]`, and the result `[rows, outputs.len()]`.
pub(super) fn product(kernel: Kernel, matrix: &MappedMatrix, outputs: Range<usize>, x: &[f32]) -> Vec<f32> {
    let (rows, width) = (x.len() / matrix.d_in, outputs.len());
    let packed = Packed::new(x, matrix.d_in, Order::of(matrix.format));
    let mut result: Vec<f32> = Vec::with_capacity(rows * width);
    let target = Target { start: result.as_mut_ptr(), stride: width };
    let panel = |first: usize| {
        let panel = outputs.start + first..outputs.end.min(outputs.start + first + PANEL);
        match packed.rows {
            0..=GROUP => of_one_group(kernel, matrix, panel, &packed, target.from(first)),
            _ => of_many_groups(kernel, matrix, panel, &packed, target.from(first)),
        }
    };
    let panels = width.div_ceil(PANEL);
    match rows * width * matrix.d_in < SMALLEST {
        true => (0..panels).for_each(|i| panel(i * PANEL)),
        false => (0..panels).into_par_iter().for_each(|i| panel(i * PANEL)),
    }
    // SAFETY: the panels cover every column, and each writes all rows of its own.
    unsafe { result.set_len(rows * width) };
    result
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
        for (begin, chunk) in chunks(matrix.d_in) {
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
    for (begin, chunk) in chunks(matrix.d_in) {
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

/// Whether sums are the first of their places or are added to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    First,
    Later,
}

/// The chunks of a sum.
fn chunks(d_in: usize) -> impl Iterator<Item = (Begin, Range<usize>)> {
    (0..d_in).step_by(CHUNK).map(move |first| {
        let begin = if first == 0 { Begin::First } else { Begin::Later };
        (begin, first..d_in.min(first + CHUNK))
    })
}

/// The bytes of widened weights, which the kernel reads as it reads those of a file.
fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: every byte of a float is initialised, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

impl Packed {
    fn new(x: &[f32], d_in: usize, order: Order) -> Self {
        let padded = d_in.next_multiple_of(BLOCK);
        let rows = x.len() / d_in;
        let mut values = vec![0.0_f32; rows * padded];
        let pack = |(group, x): (&mut [f32], &[f32])| {
            let rows = x.len() / d_in;
            for (row, x) in x.chunks_exact(d_in).enumerate() {
                for (block, x) in x.chunks(BLOCK).enumerate() {
                    order.arrange(x, &mut group[(block * rows + row) * BLOCK..][..BLOCK]);
                }
            }
        };
        match rows <= GROUP {
            true => pack((&mut values, x)),
            false => values.par_chunks_mut(GROUP * padded).zip(x.par_chunks(GROUP * d_in)).for_each(pack),
        }
        Packed { values, rows, padded }
    }

    /// The part of a group of rows that a chunk of the sum needs.
    fn group(&self, first_row: usize, chunk: Range<usize>) -> Group<'_> {
        let rows = GROUP.min(self.rows - first_row);
        let group = &self.values[first_row * self.padded..][..rows * self.padded];
        let end = chunk.end.next_multiple_of(BLOCK);
        Group { values: &group[chunk.start * rows..end * rows], rows }
    }
}

/// Some columns of the result, which no other thread touches.
#[derive(Clone, Copy)]
struct Target {
    start: *mut f32,
    stride: usize,
}

// SAFETY: each thread writes to columns of its own.
unsafe impl Sync for Target {}

impl Target {
    /// The columns from this one on.
    fn from(&self, column: usize) -> Target {
        // `wrapping_add`, because nothing is read or written here.
        Target { start: self.start.wrapping_add(column), stride: self.stride }
    }

    /// The rows from this one on.
    fn down(&self, row: usize) -> Target {
        Target { start: self.start.wrapping_add(row * self.stride), stride: self.stride }
    }

    fn put(&self, row: usize, column: usize, sums: &[f32], begin: Begin) {
        for (place, &sum) in sums.iter().enumerate() {
            // SAFETY: the place is in the result's allocation, and `First` writes it before `Later` reads it.
            unsafe {
                let to = self.start.add(row * self.stride + column + place);
                match begin {
                    Begin::First => to.write(sum),
                    Begin::Later => *to += sum,
                }
            }
        }
    }
}
