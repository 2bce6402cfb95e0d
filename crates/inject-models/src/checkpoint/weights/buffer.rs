//! The values of one parameter, collected from the tensors that it consists of.

use burn::tensor::TensorData;

use crate::format::FloatFormat;

/// The values of one parameter, in the format the decoder computes in.
pub(super) enum Buffer {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Buffer {
    /// # Panics
    ///
    /// Panics if the loader does not compute in this format.
    pub(super) fn zeros(len: usize, format: FloatFormat) -> Self {
        match format {
            FloatFormat::F32 => Buffer::F32(vec![0.0; len]),
            FloatFormat::F64 => Buffer::F64(vec![0.0; len]),
            FloatFormat::F16 | FloatFormat::Bf16 => unreachable!("a model computes in f32 or f64"),
        }
    }

    /// Copies rows of `width` values to `begin`, `begin + stride`, and so on.
    pub(super) fn place_rows(&mut self, piece: &[f32], width: usize, begin: usize, stride: usize) {
        match self {
            Buffer::F32(values) => place_rows(values, piece, width, begin, stride),
            Buffer::F64(values) => place_rows(values, piece, width, begin, stride),
        }
    }

    /// Copies rows of `width` values into the columns `begin`, `begin + 1`, ... of a matrix with `stride` columns.
    pub(super) fn place_columns(&mut self, piece: &[f32], width: usize, begin: usize, stride: usize) {
        match self {
            Buffer::F32(values) => place_columns(values, piece, width, begin, stride),
            Buffer::F64(values) => place_columns(values, piece, width, begin, stride),
        }
    }

    pub(super) fn into_data(self, shape: &[usize]) -> TensorData {
        match self {
            Buffer::F32(values) => TensorData::new(values, shape.to_vec()),
            Buffer::F64(values) => TensorData::new(values, shape.to_vec()),
        }
    }
}

fn place_rows<T: From<f32>>(values: &mut [T], piece: &[f32], width: usize, begin: usize, stride: usize) {
    for (row, source) in piece.chunks_exact(width).enumerate() {
        let target = &mut values[begin + row * stride..][..width];
        for (target, source) in target.iter_mut().zip(source) {
            *target = T::from(*source);
        }
    }
}

fn place_columns<T: From<f32>>(values: &mut [T], piece: &[f32], width: usize, begin: usize, stride: usize) {
    let rows = piece.len() / width;
    // The target is walked row by row: its lines are far apart, the source sits in cache.
    for column in 0..width {
        let target = &mut values[column * stride + begin..][..rows];
        for (row, target) in target.iter_mut().enumerate() {
            *target = T::from(piece[row * width + column]);
        }
    }
}
