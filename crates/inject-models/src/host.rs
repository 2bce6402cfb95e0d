//! Transfers of values between the host and a device.

use std::{cell::Cell, ops::Sub};

use burn::tensor::{DataError, Device, Element, Int, Tensor, TensorData, kind::Basic};

use crate::error::ModelError;

/// The reads from devices that one thread has made.
///
/// A read waits for the device. So the number of reads bounds the rate of a program, whatever the device, and the bytes show
/// whether it returns answers or everything that it computed.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inject_models::host::{Reads, to_host};
///
/// let before = Reads::of_this_thread();
/// to_host::<f64, 2>(Tensor::ones([3, 5], &Device::flex()))?;
/// let made = Reads::of_this_thread() - before;
/// assert_eq!((made.count, made.bytes), (1, 60)); // fifteen numbers of four bytes, as the device holds them
/// # Ok::<(), inject_models::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// The number of times that data came back from a device.
    pub count: u64,
    /// The bytes that they returned.
    pub bytes: u64,
}

thread_local! {
    static READS: Cell<Reads> = const { Cell::new(Reads { count: 0, bytes: 0 }) };
}

impl Reads {
    /// Returns the reads that the current thread has made through this module since it began.
    pub fn of_this_thread() -> Self {
        READS.get()
    }
}

impl Sub for Reads {
    type Output = Reads;

    fn sub(self, earlier: Reads) -> Reads {
        Reads { count: self.count - earlier.count, bytes: self.bytes - earlier.bytes }
    }
}

/// Returns whether a device has memory of its own, so that a read is a transfer and not a copy.
///
/// The answer follows from whether the backend reports pools of device memory.
pub fn is_remote(device: &Device) -> bool {
    device.memory_pool_usage().is_some()
}

/// Returns the values of a tensor as the device holds them, in row-major order.
///
/// Every read of the workspace's libraries passes through this function, which counts it. A test holds them to that.
///
/// # Errors
///
/// Fails with [`ModelError::Device`] if the device fails, now or in the computation of these values.
pub fn read<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> Result<TensorData, ModelError> {
    let data = tensor.try_into_data().map_err(|error| ModelError::Device { reason: error.to_string() })?;
    let Reads { count, bytes } = READS.get();
    READS.set(Reads { count: count + 1, bytes: bytes + data.as_bytes().len() as u64 });
    Ok(data)
}

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
    let failed = |error: DataError| ModelError::Device { reason: error.to_string() };
    read(tensor)?.try_into_vec_as::<E>().map_err(failed)
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
