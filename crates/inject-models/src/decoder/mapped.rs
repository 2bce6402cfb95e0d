//! Matrices that stay in a mapped file.
//!
//! Nothing is copied when such a matrix is made. Its numbers are widened to F32 where they are multiplied, by own code on the CPU.

mod kernel;
mod module;
mod pages;
mod product;
mod stored;

use std::{fmt, ops::Range, sync::Arc};

use burn::tensor::{DType, Device, Tensor, TensorData};
use memmap2::Mmap;
use rayon::prelude::*;

use self::kernel::{Kernel, by_input::Columns};
use crate::{decoder::Instructions, format::FloatFormat};

/// Rows that one thread widens at a time. Fewer are not worth a second thread.
const DECODED_TOGETHER: usize = 64;

/// A matrix in a mapped file. A clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct Mapped(Arc<MappedMatrix>);

/// The rows of a matrix.
struct MappedMatrix {
    format: FloatFormat,
    layout: Layout,
    /// The numbers of a row.
    width: usize,
    segments: Vec<Segment>,
    /// The number of rows up to the end of each segment.
    ends: Vec<usize>,
    kernel: Kernel,
}

/// The layout of the stored matrix: the meaning of one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The weights of one output: `[outputs, inputs]`, as PyTorch's `Linear` is stored, and a table of tokens.
    ByOutput,
    /// The weights of one input: `[inputs, outputs]`, as GPT-2's maps are stored.
    ByInput,
}

/// Consecutive rows in one file.
#[derive(Clone)]
pub(crate) struct Segment {
    /// The mapped file that holds the rows.
    pub(crate) map: Arc<Mmap>,
    /// Offset of the first row in the file, in bytes.
    pub(crate) begin: usize,
    /// The number of consecutive rows.
    pub(crate) rows: usize,
}

impl fmt::Debug for MappedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {}] in a file", self.format, self.rows(), self.width)
    }
}

impl Mapped {
    /// Makes a matrix of the rows of several segments, one after another. Returns nothing for F64, which is not computed with, and
    /// for several segments input by input: those are the columns of one matrix.
    ///
    /// # Panics
    ///
    /// Panics if a segment exceeds its file: the header was checked.
    pub(crate) fn new(
        format: FloatFormat,
        layout: Layout,
        width: usize,
        segments: Vec<Segment>,
    ) -> Option<Self> {
        if format == FloatFormat::F64 || width == 0 || cfg!(target_endian = "big") {
            return None;
        }
        if layout == Layout::ByInput && segments.len() != 1 {
            return None;
        }
        let row = width * format.bytes();
        let mut rows = 0;
        let mut ends = Vec::with_capacity(segments.len());
        for Segment { map, begin, rows: more } in &segments {
            assert!(begin + more * row <= map.len(), "a matrix exceeds its file");
            rows += more;
            ends.push(rows);
        }
        let kernel = Kernel::detect();
        Some(Mapped(Arc::new(MappedMatrix { format, layout, width, segments, ends, kernel })))
    }

    /// The instructions of this processor.
    pub(super) fn instructions() -> Instructions {
        Kernel::detect().instructions()
    }

    /// The size of the matrix in its files.
    pub(super) fn bytes(&self) -> usize {
        self.0.rows() * self.0.width * self.0.format.bytes()
    }

    /// The number of outputs and that of inputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        [self.0.outputs(), self.0.inputs()]
    }

    /// The same matrix, stored output by output, with its rows divided into `outer * inner` equal parts, the two counts exchanged.
    pub(super) fn exchanged(&self, [outer, inner]: [usize; 2]) -> Self {
        let rows = self.0.rows() / (outer * inner);
        let segments = (0..inner).flat_map(|i| (0..outer).map(move |o| o * inner + i));
        let segments = segments.flat_map(|part| self.0.segments_of(part * rows..(part + 1) * rows)).collect();
        Mapped::new(self.0.format, self.0.layout, self.0.width, segments).unwrap_or_else(|| self.clone())
    }

    /// Multiplies rows of F32 with the weights of some outputs.
    ///
    /// # Shapes
    ///
    /// `x` is `[rows, inputs]`, and the result `[rows, outputs.len()]`.
    pub(super) fn product(&self, x: Tensor<2>, outputs: Range<usize>) -> Tensor<2> {
        let device = x.device();
        // The gradient of `x` needs tensors all the way, and other formats the products of the device.
        if device.is_autodiff() || x.dtype() != DType::F32 {
            let weight = self.tensor(&device, x.dtype());
            return x.matmul(weight.narrow(0, outputs.start, outputs.len()).transpose());
        }
        let [rows, _] = x.dims();
        let x = x.into_data();
        let x = x.as_slice::<f32>().expect("the dtype was compared");
        let shape = [rows, outputs.len()];
        let values = product::product(self.0.kernel, &self.0, outputs, x);
        Tensor::from_data(TensorData::new(values, shape), &device)
    }

    /// The whole matrix as a tensor on a device.
    ///
    /// # Shapes
    ///
    /// `[outputs, inputs]`.
    pub(super) fn tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let rows = self.select(0..self.0.rows(), device, dtype);
        match self.0.layout {
            Layout::ByOutput => rows,
            Layout::ByInput => rows.transpose(),
        }
    }

    /// The rows with these numbers as a tensor on a device.
    ///
    /// # Shapes
    ///
    /// `[rows, width]`.
    pub(super) fn select(
        &self,
        rows: impl ExactSizeIterator<Item = usize>,
        device: &Device,
        dtype: DType,
    ) -> Tensor<2> {
        let MappedMatrix { width, format, .. } = *self.0;
        let shape = [rows.len(), width];
        let mut values = vec![0.0; shape[0] * width];
        let decode = |(rows, values): (&[usize], &mut [f32])| {
            for (&row, values) in rows.iter().zip(values.chunks_exact_mut(width)) {
                format.decode(self.0.part(row, 0..width), values);
            }
        };
        let rows: Vec<usize> = rows.collect();
        match rows.len() <= DECODED_TOGETHER {
            true => decode((&rows, &mut values)),
            false => rows
                .par_chunks(DECODED_TOGETHER)
                .zip(values.par_chunks_mut(DECODED_TOGETHER * width))
                .for_each(decode),
        }
        Tensor::from_data(TensorData::new(values, shape), (device, dtype))
    }
}

impl MappedMatrix {
    fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn inputs(&self) -> usize {
        match self.layout {
            Layout::ByOutput => self.width,
            Layout::ByInput => self.rows(),
        }
    }

    fn outputs(&self) -> usize {
        match self.layout {
            Layout::ByOutput => self.rows(),
            Layout::ByInput => self.width,
        }
    }

    /// The weights of some outputs for some inputs, stored input by input.
    fn columns(&self, inputs: Range<usize>, outputs: Range<usize>) -> Columns<'_> {
        // `Mapped::new` takes one segment.
        let Segment { map, begin, .. } = &self.segments[0];
        let at = |input: usize, output: usize| begin + (input * self.width + output) * self.format.bytes();
        Columns {
            bytes: &map[at(inputs.start, outputs.start)..at(inputs.end - 1, outputs.end)],
            stride: self.width * self.format.bytes(),
            inputs: inputs.len(),
            outputs: outputs.len(),
        }
    }

    /// The bytes of some columns of a row.
    fn part(&self, row: usize, columns: Range<usize>) -> &[u8] {
        let segment = self.ends.partition_point(|&end| end <= row);
        let Segment { map, begin, rows } = &self.segments[segment];
        let within = row + rows - self.ends[segment];
        let bytes = self.format.bytes();
        &map[begin + (within * self.width + columns.start) * bytes..][..columns.len() * bytes]
    }

    /// The segments that hold consecutive rows.
    fn segments_of(&self, rows: Range<usize>) -> Vec<Segment> {
        let row_bytes = self.width * self.format.bytes();
        let ends = self.ends.iter().zip(&self.segments);
        let parts = ends.filter_map(|(&end, segment)| {
            let first = end - segment.rows;
            let (begin, end) = (rows.start.max(first), rows.end.min(end));
            (begin < end).then(|| Segment {
                map: Arc::clone(&segment.map),
                begin: segment.begin + (begin - first) * row_bytes,
                rows: end - begin,
            })
        });
        parts.collect()
    }
}
