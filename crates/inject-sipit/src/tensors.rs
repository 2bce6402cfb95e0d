//! Tensors to the host and back.

use crate::{error::InvertError, models::host::to_host};
use burn::tensor::{Device, Int, Tensor, TensorData};

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

/// Row numbers on a device, for selecting rows.
pub(crate) fn indices(rows: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.into_iter().map(|row| row as i32).collect();
    let shape = [rows.len()];
    Tensor::from_data(TensorData::new(rows, shape), device)
}
