//! Devices and small models for the tests and benchmarks of the workspace. This crate is not published.
//!
//! ```
//! let (name, device) = inject_testing::named().remove(0);
//! assert_eq!((name, device), ("flex", burn::tensor::Device::flex()));
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod golden;
pub mod models;
pub mod parity;

use burn::tensor::{DType, Device, Tensor, TensorData, activation};

/// The allocator of every program, test and benchmark of the workspace. A CPU backend allocates every intermediate tensor. An
/// allocator that returns the memory to the system between two operations makes each operation begin with page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns every device compiled into this build, with its name in the program `inject`.
///
/// If the machine lacks a GPU, its first use panics in the runtime. This is intended: a test must not pass by not running.
pub fn named() -> Vec<(&'static str, Device)> {
    Vec::from([
        #[cfg(feature = "flex")]
        ("flex", Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated, reason = "kept as the second opinion on every result")]
        ("ndarray", Device::ndarray()),
        #[cfg(feature = "cuda")]
        ("cuda", Device::cuda(0)),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ])
}

/// Returns the devices on which the tests run: every device compiled into this build, or the one that `INJECT_DEVICE` names.
///
/// # Panics
///
/// Panics if that device is not compiled in.
pub fn compiled() -> Vec<Device> {
    let wanted = std::env::var("INJECT_DEVICE").ok();
    let asked = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let devices: Vec<Device> =
        named().into_iter().filter(|(name, _)| asked(name)).map(|(_, device)| device).collect();
    assert!(!devices.is_empty(), "INJECT_DEVICE {wanted:?} is not compiled in");
    devices
}

/// Makes something on each of these devices.
pub fn on_each<T>(make: impl Fn(&Device) -> T) -> impl Iterator<Item = T> {
    compiled().into_iter().map(move |device| make(&device))
}

/// Returns one device, for a test whose subject does not depend on the device: a file, a message, a count.
///
/// # Panics
///
/// As [`compiled`].
pub fn any_device() -> Device {
    compiled().remove(0)
}

/// Returns whether a device computes in f64 throughout.
///
/// Support for f64 tensors is not sufficient: `ndarray` accepts them and evaluates the logistic function in f32. Therefore one
/// value is computed and compared.
pub fn computes_in_f64(device: &Device) -> bool {
    let x = 0.3_f64;
    let expected = 1.0 / (1.0 + (-x).exp());
    device.supports_dtype(DType::F64) && {
        let tensor = Tensor::<1>::from_data(TensorData::from([x]), (device, DType::F64));
        let found =
            activation::sigmoid(tensor).try_into_data().ok().and_then(|data| data.iter::<f64>().next());
        found.is_some_and(|found| (found - expected).abs() < 1e-15)
    }
}
