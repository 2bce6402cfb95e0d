//! From a device to the host.

use burn::tensor::{Element, Tensor};

use crate::ModelError;

/// The values of a tensor on the host, in row-major order and in the number format asked for.
///
/// # Errors
///
/// [`ModelError::Device`] when the device fails, now or in the computation that the values hang on.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
///
/// let tensor = Tensor::<2>::from_data([[1.5_f32, 2.0]], &Device::flex());
/// assert_eq!(inject_models::to_host::<f64, 2>(tensor)?, [1.5, 2.0]);
/// # Ok::<(), inject_models::ModelError>(())
/// ```
pub fn to_host<E: Element, const D: usize>(tensor: Tensor<D>) -> Result<Vec<E>, ModelError> {
    tensor.try_into_vec_as::<E>().map_err(|error| ModelError::Device { reason: error.to_string() })
}
