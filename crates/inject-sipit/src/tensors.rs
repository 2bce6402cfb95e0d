//! Tensors to the host and back.

use crate::{error::InvertError, models::host::to_host};
use burn::tensor::Tensor;

/// The values of a tensor on the host, in row-major order.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, InvertError> {
    Ok(to_host(tensor)?)
}

/// The values of a tensor on the host in f32, in row-major order.
pub(crate) fn read_f32<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, InvertError> {
    Ok(to_host(tensor)?)
}

/// The same numbers in f64.
pub(crate) fn widened(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}
