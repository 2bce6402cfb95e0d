//! From a device to the host.

use burn::tensor::Tensor;
use inject_states::ModelError;

/// Values of a tensor on the host, in row-major order.
pub(crate) fn read_f32(tensor: Tensor<2>) -> Result<Vec<f32>, ModelError> {
    let device_error = |reason: String| ModelError::Device { reason };
    let data = tensor.try_into_data().map_err(|error| device_error(error.to_string()))?;
    data.convert::<f32>().try_to_vec::<f32>().map_err(|error| device_error(format!("{error:?}")))
}
