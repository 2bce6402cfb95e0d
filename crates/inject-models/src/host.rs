//! Values on their way between the host and a device.

use burn::tensor::{Device, Element, Int, Tensor, TensorData};

use crate::error::ModelError;

/// Returns the values of a tensor in row-major order, converted to `E`.
///
/// # Errors
///
/// Fails with [`ModelError::Device`] if the device fails, now or in the computation of these values.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inject_models::host::to_host;
///
/// let tensor = Tensor::<2>::from_data([[1.5_f32, 2.0]], &Device::flex());
/// assert_eq!(to_host::<f64, 2>(tensor)?, [1.5, 2.0]);
/// # Ok::<(), inject_models::ModelError>(())
/// ```
pub fn to_host<E: Element, const D: usize>(tensor: Tensor<D>) -> Result<Vec<E>, ModelError> {
    tensor.try_into_vec_as::<E>().map_err(|error| ModelError::Device { reason: error.to_string() })
}

/// Puts the indices of rows on a device, for burn's `select`.
///
/// # Shapes
///
/// `[indices]`.
pub fn indices(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    integers(indices.iter().map(|&index| index as i32).collect(), device)
}

pub(crate) fn integers(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}
