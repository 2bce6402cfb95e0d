//! Products of any number of rows with the rows of a mapped matrix.
//!
//! A sum is made of the same chunks whatever the number of rows. So a row has the same product in every batch.

mod by_input;
mod by_output;
mod lines;
mod widened;

use std::ops::Range;

use rayon::prelude::*;

use self::lines::Lines;
use super::{
    Layout,
    coded::CodedMatrix,
    kernel::{GROUP, Group, Kernel},
    plain::PlainMatrix,
    stored::{BLOCK, Order},
};
use crate::tuning::{FEWEST_PRODUCTS, FEWEST_ROWS};

/// Rows of F32 in the order in which kernels read them.
struct Packed {
    values: Lines,
    rows: usize,
    /// The number of rows in a group. The last group may have fewer.
    group: usize,
    /// The width of a row after padding to whole blocks.
    padded: usize,
}

/// Computes the products of rows with the weights of some outputs.
///
/// # Shapes
///
/// `x` is `[rows, inputs]`, and the result `[rows, outputs.len()]`.
pub(super) fn of_plain(kernel: Kernel, matrix: &PlainMatrix, outputs: Range<usize>, x: &[f32]) -> Vec<f32> {
    let inputs = matrix.inputs();
    let many_rows = x.len() / inputs >= FEWEST_ROWS;
    let (order, panel_len, group) = match matrix.layout {
        Layout::ByOutput => (Order::of(matrix.format), by_output::PANEL, GROUP),
        Layout::ByInput => (Order::Natural, by_input::PANEL, kernel.rows_by_input()),
    };
    let packed = Packed::new(x, inputs, order, group);
    in_panels(&packed, outputs, panel_len, |outputs, next, target| {
        let packed = &packed;
        match (matrix.layout, many_rows) {
            (Layout::ByOutput, false) => by_output::of_panel(kernel, matrix, outputs, packed, target),
            (Layout::ByOutput, true) => widened::of_panel(kernel, matrix, outputs, next, packed, target),
            (Layout::ByInput, false) => by_input::of_panel(kernel, matrix, outputs, packed, target),
            (Layout::ByInput, true) => by_input::of_many_rows(kernel, matrix, outputs, packed, target),
        }
    })
}

/// The same for a matrix of codes. A chunk of weights is restored once for all rows.
pub(super) fn of_coded(kernel: Kernel, matrix: &CodedMatrix, outputs: Range<usize>, x: &[f32]) -> Vec<f32> {
    let packed = Packed::new(x, matrix.width(), Order::Natural, GROUP);
    in_panels(&packed, outputs, by_output::PANEL, |outputs, next, target| {
        widened::of_panel(kernel, matrix, outputs, next, &packed, target);
    })
}

/// Computes the outputs in panels of `panel_len`, one for each call of `panel`. It takes the outputs of a panel, those of the next one,
/// and the place of the sums.
fn in_panels(
    packed: &Packed,
    outputs: Range<usize>,
    panel_len: usize,
    panel: impl Fn(Range<usize>, Range<usize>, Target) + Sync,
) -> Vec<f32> {
    let (rows, width) = (packed.rows, outputs.len());
    let mut result: Vec<f32> = Vec::with_capacity(rows * width);
    let target = Target { start: result.as_mut_ptr(), stride: width };
    let panels = width.div_ceil(panel_len);
    let outputs_of = |panel: usize| {
        let first = outputs.start + panel * panel_len;
        first.min(outputs.end)..outputs.end.min(first + panel_len)
    };
    let compute = |number: usize| {
        panel(outputs_of(number), outputs_of(number + 1), target.from(number * panel_len));
    };
    match rows * width * packed.padded < FEWEST_PRODUCTS {
        true => (0..panels).for_each(compute),
        false => (0..panels).into_par_iter().for_each(compute),
    }
    // SAFETY: the panels cover every column, and each writes all rows of its own.
    unsafe { result.set_len(rows * width) };
    result
}

/// Whether sums are written to their places, or added to the numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    First,
    Later,
}

/// The chunks of a sum: as few as none is longer than `longest` with, all but the last of one length in whole blocks of `block`.
fn chunks(inputs: usize, longest: usize, block: usize) -> impl Iterator<Item = (Begin, Range<usize>)> {
    let count = inputs.div_ceil(longest);
    let len = inputs.div_ceil(count).next_multiple_of(block);
    (0..inputs).step_by(len).map(move |first| {
        let begin = if first == 0 { Begin::First } else { Begin::Later };
        (begin, first..inputs.min(first + len))
    })
}

impl Packed {
    /// Packs rows in groups of `of_many`, or in one group if it can hold all.
    fn new(x: &[f32], d_in: usize, order: Order, of_many: usize) -> Self {
        let padded = d_in.next_multiple_of(BLOCK);
        let rows = x.len() / d_in;
        let group = if rows <= GROUP { GROUP } else { of_many };
        let mut values = Lines::zeros(rows * padded);
        let pack = |(group, x): (&mut [f32], &[f32])| {
            let rows = x.len() / d_in;
            for (row, x) in x.chunks_exact(d_in).enumerate() {
                for (block, x) in x.chunks(BLOCK).enumerate() {
                    order.arrange(x, &mut group[(block * rows + row) * BLOCK..][..BLOCK]);
                }
            }
        };
        match rows <= group {
            true => pack((&mut values, x)),
            false => values.par_chunks_mut(group * padded).zip(x.par_chunks(group * d_in)).for_each(pack),
        }
        Packed { values, rows, group, padded }
    }

    /// The first row of each group.
    fn first_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.rows).step_by(self.group)
    }

    /// The part of a group of rows that a chunk of the sum needs.
    fn group(&self, first_row: usize, chunk: Range<usize>) -> Group<'_> {
        let rows = self.group.min(self.rows - first_row);
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

    /// Writes the sums of a row.
    fn put_all<'a>(&self, row: usize, sums: impl Iterator<Item = &'a f32>) {
        for (column, &sum) in sums.enumerate() {
            // SAFETY: the place is in the result's allocation.
            unsafe { self.start.add(row * self.stride + column).write(sum) };
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use memmap2::MmapMut;

    use super::{
        super::{Codes, Segment, kernel::tests::numbers},
        *,
    };
    use crate::{
        format::FloatFormat,
        tuning::{CHUNK_BY_INPUT, CHUNK_BY_OUTPUT},
    };

    /// A file that holds some numbers.
    fn segment(format: FloatFormat, numbers: &[f32], rows: usize) -> Segment {
        let mut bytes = Vec::new();
        format.encode(numbers, &mut bytes).unwrap();
        let mut map = MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(&bytes);
        Segment { map: Arc::new(map.make_read_only().unwrap()), begin: 0, rows }
    }

    fn matrix(format: FloatFormat, layout: Layout, rows: usize, width: usize, kernel: Kernel) -> PlainMatrix {
        let segments = vec![segment(format, &numbers(format, 1, rows * width), rows)];
        PlainMatrix { format, layout, width, segments, ends: vec![rows], kernel }
    }

    #[test]
    fn a_row_has_the_same_product_among_any_number_of_rows() {
        // More than a chunk of inputs, and outputs that fill neither the last panel nor its last tile.
        let (inputs, outputs) = (1300, 101);
        let rows = FEWEST_ROWS + 11;
        let x = numbers(FloatFormat::F32, 2, rows * inputs);
        for kernel in Kernel::all() {
            for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
                for (layout, [stored, width]) in
                    [(Layout::ByOutput, [outputs, inputs]), (Layout::ByInput, [inputs, outputs])]
                {
                    let matrix = matrix(format, layout, stored, width, kernel);
                    let all = of_plain(kernel, &matrix, 2..outputs, &x);
                    for (row, found) in all.chunks_exact(outputs - 2).enumerate() {
                        let alone = of_plain(kernel, &matrix, 2..outputs, &x[row * inputs..][..inputs]);
                        assert_eq!(found, alone, "{kernel:?} {format} {layout:?}, row {row}");
                    }
                }
            }
        }
    }

    /// A product with the sums in their order, by fused multiply-add.
    fn in_order(format: FloatFormat, layout: Layout, x: &[f32], weights: &[f32]) -> f32 {
        let of_chunk = |chunk: Range<usize>| match layout {
            Layout::ByInput => chunk.fold(0.0_f32, |sum, input| x[input].mul_add(weights[input], sum)),
            Layout::ByOutput => {
                let mut partial = [0.0_f32; BLOCK / 2];
                for (x, weights) in x[chunk.clone()].chunks(BLOCK).zip(weights[chunk].chunks(BLOCK)) {
                    let mut blocks = [[0.0; BLOCK]; 2];
                    Order::of(format).arrange(x, &mut blocks[0]);
                    Order::of(format).arrange(weights, &mut blocks[1]);
                    for place in 0..BLOCK {
                        let sum = &mut partial[place % (BLOCK / 2)];
                        *sum = blocks[0][place].mul_add(blocks[1][place], *sum);
                    }
                }
                let quarter =
                    |at: usize| (partial[at] + partial[at + 2]) + (partial[at + 1] + partial[at + 3]);
                (quarter(0) + quarter(4)) + (quarter(8) + quarter(12))
            }
        };
        let longest = match layout {
            Layout::ByOutput => CHUNK_BY_OUTPUT,
            Layout::ByInput => CHUNK_BY_INPUT,
        };
        let sums = chunks(x.len(), longest, BLOCK).map(|(_, chunk)| of_chunk(chunk));
        sums.reduce(|all, sum| all + sum).expect("there are inputs")
    }

    #[test]
    fn every_fused_kernel_has_the_bits_of_the_sums_in_order() {
        // Widths that fill neither a block, nor a vector, nor a tile; the second has two chunks.
        for (inputs, outputs) in [(37, 53), (701, 29)] {
            for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
                for (layout, [stored, width]) in
                    [(Layout::ByOutput, [outputs, inputs]), (Layout::ByInput, [inputs, outputs])]
                {
                    let weights = numbers(format, 1, inputs * outputs);
                    let of_output = |output: usize| -> Vec<f32> {
                        let at = |input: usize| match layout {
                            Layout::ByOutput => output * inputs + input,
                            Layout::ByInput => input * outputs + output,
                        };
                        (0..inputs).map(|input| weights[at(input)]).collect()
                    };
                    let weights: Vec<Vec<f32>> = (0..outputs).map(of_output).collect();
                    let most = FEWEST_ROWS + 1;
                    let x = numbers(FloatFormat::F32, 2, most * inputs);
                    let expected: Vec<u32> = x
                        .chunks_exact(inputs)
                        .flat_map(|x| weights.iter().map(move |w| in_order(format, layout, x, w).to_bits()))
                        .collect();
                    for kernel in Kernel::all().into_iter().filter(|kernel| *kernel != Kernel::Portable) {
                        let matrix = matrix(format, layout, stored, width, kernel);
                        for rows in (1..=33).chain([FEWEST_ROWS, most]) {
                            let found = of_plain(kernel, &matrix, 0..outputs, &x[..rows * inputs]);
                            let found = found.iter().map(|sum| sum.to_bits());
                            assert!(
                                found.eq(expected[..rows * outputs].iter().copied()),
                                "{kernel:?} {format} {layout:?}, {rows} rows, {inputs} x {outputs}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_codes_equal_the_sums_in_f64_among_any_number_of_rows() {
        // Of several formats, as files of 4 bits are.
        let parts = [(FloatFormat::F16, 60), (FloatFormat::Bf16, 41), (FloatFormat::F32, 7)];
        let rows = FEWEST_ROWS + 11;
        for inputs in [40, 256, 700, 1300] {
            let (mut weights, mut tensors) = (Vec::new(), Vec::<Arc<dyn Codes>>::new());
            for (seed, (format, outputs)) in parts.into_iter().enumerate() {
                let of_part = numbers(format, 10 + seed as u32, outputs * inputs);
                let segments = vec![segment(format, &of_part, outputs)];
                let part = PlainMatrix::of_segments(format, Layout::ByOutput, inputs, segments);
                tensors.push(Arc::new(part));
                weights.extend(of_part);
            }
            let matrix = CodedMatrix::new(inputs, tensors).unwrap();
            let outputs = 2..matrix.rows();
            let x = numbers(FloatFormat::F32, 2, rows * inputs);
            for kernel in Kernel::all() {
                let all = of_coded(kernel, &matrix, outputs.clone(), &x);
                for (x, found) in x.chunks_exact(inputs).zip(all.chunks_exact(outputs.len())) {
                    assert_eq!(found, of_coded(kernel, &matrix, outputs.clone(), x), "{kernel:?} {inputs}");
                    for (&found, output) in found.iter().zip(outputs.clone()) {
                        let weights = &weights[output * inputs..][..inputs];
                        let terms = || x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        let (sum, magnitude) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        // One rounding of each product, and one of each addition.
                        let tolerance = (1.0 + inputs as f64) * magnitude * 2f64.powi(-24);
                        assert!(
                            (f64::from(found) - sum).abs() <= tolerance,
                            "{kernel:?} {inputs}, output {output}: {found} {sum}"
                        );
                    }
                }
            }
        }
    }
}
