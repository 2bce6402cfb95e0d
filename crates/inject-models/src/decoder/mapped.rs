//! Matrices that stay in a mapped file.
//!
//! Nothing is copied when such a matrix is made. Its numbers are widened to F32, or restored from their codes, where they are
//! multiplied, by own code on the CPU.

mod coded;
mod kernel;
mod module;
mod pages;
mod plain;
mod product;
mod stored;

use std::{fmt, ops::Range, sync::Arc};

use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

use self::{coded::CodedMatrix, kernel::Kernel};
pub(crate) use self::{
    coded::{CODES_TOGETHER, Codes},
    plain::{PlainMatrix, Segment},
};
use super::full_precision::matmul;
use crate::{decoder::Instructions, format::FloatFormat, tuning::DECODED_TOGETHER};

/// A matrix in a mapped file. A clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct Mapped(Arc<Matrix>);

/// The form in which a file has a matrix.
enum Matrix {
    /// Numbers of one format.
    Plain(PlainMatrix),
    /// Codes of numbers, stored output by output.
    Coded(CodedMatrix),
}

/// The layout of the stored matrix: the meaning of one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The weights of one output: `[outputs, inputs]`, as PyTorch's `Linear` is stored, and a table of tokens.
    ByOutput,
    /// The weights of one input: `[inputs, outputs]`, as GPT-2's maps are stored.
    ByInput,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matrix::Plain(plain) => plain.fmt(f),
            Matrix::Coded(coded) => coded.fmt(f),
        }
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
        let plain = PlainMatrix::new(format, layout, width, segments)?;
        Some(Mapped(Arc::new(Matrix::Plain(plain))))
    }

    /// Makes a matrix of the rows of several coded tensors, one after another. They are stored output by output. Returns nothing if
    /// they have no columns.
    pub(crate) fn of_codes(width: usize, tensors: Vec<Arc<dyn Codes>>) -> Option<Self> {
        let coded = CodedMatrix::new(width, tensors)?;
        Some(Mapped(Arc::new(Matrix::Coded(coded))))
    }

    /// The instructions of this processor.
    pub(super) fn instructions() -> Instructions {
        Kernel::detect().instructions()
    }

    /// The size of the matrix in its files.
    pub(super) fn bytes(&self) -> usize {
        match &*self.0 {
            Matrix::Plain(plain) => plain.bytes(),
            Matrix::Coded(coded) => coded.bytes(),
        }
    }

    /// Whether its numbers are restored from codes.
    pub(super) fn is_coded(&self) -> bool {
        matches!(*self.0, Matrix::Coded(_))
    }

    /// The number of outputs and that of inputs.
    pub(super) fn dims(&self) -> [usize; 2] {
        match &*self.0 {
            Matrix::Plain(plain) => [plain.outputs(), plain.inputs()],
            Matrix::Coded(coded) => [coded.rows(), coded.width()],
        }
    }

    /// The same matrix, stored output by output, with its rows divided into `outer * inner` equal parts, the two counts exchanged.
    pub(super) fn exchanged(&self, [outer, inner]: [usize; 2]) -> Self {
        let rows = self.stored()[0] / (outer * inner);
        let parts = (0..inner).flat_map(|i| (0..outer).map(move |o| o * inner + i));
        let parts = parts.map(|part| part * rows..(part + 1) * rows);
        Mapped(Arc::new(match &*self.0 {
            Matrix::Plain(plain) => Matrix::Plain(plain.with_rows(parts)),
            Matrix::Coded(coded) => Matrix::Coded(coded.with_rows(parts)),
        }))
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
            return matmul(x, weight.narrow(0, outputs.start, outputs.len()).transpose());
        }
        let [rows, _] = x.dims();
        let x = x.into_data();
        let x = x.as_slice::<f32>().expect("the dtype was compared");
        let shape = [rows, outputs.len()];
        let values = match &*self.0 {
            Matrix::Plain(plain) => product::of_plain(plain.kernel, plain, outputs, x),
            Matrix::Coded(coded) => product::of_coded(coded.kernel, coded, outputs, x),
        };
        Tensor::from_data(TensorData::new(values, shape), &device)
    }

    /// The whole matrix as a tensor on a device.
    ///
    /// # Shapes
    ///
    /// `[outputs, inputs]`.
    pub(super) fn tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let rows = self.select(0..self.stored()[0], device, dtype);
        match &*self.0 {
            Matrix::Plain(plain) if plain.layout == Layout::ByInput => rows.transpose(),
            Matrix::Plain(_) | Matrix::Coded(_) => rows,
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
        let width = self.stored()[1];
        let shape = [rows.len(), width];
        let mut values = vec![0.0; shape[0] * width];
        let decode = |(rows, values): (&[usize], &mut [f32])| {
            for (&row, values) in rows.iter().zip(values.chunks_exact_mut(width)) {
                match &*self.0 {
                    Matrix::Plain(plain) => plain.format.decode(plain.part(row, 0..width), values),
                    Matrix::Coded(coded) => coded.restore(row, 0..width, values),
                }
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

    /// The number of stored rows, and their width.
    fn stored(&self) -> [usize; 2] {
        match &*self.0 {
            Matrix::Plain(plain) => [plain.rows(), plain.width],
            Matrix::Coded(coded) => [coded.rows(), coded.width()],
        }
    }
}
