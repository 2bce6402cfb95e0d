//! The devices that the program computes on, by name.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, str::FromStr};

use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::Tensor;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig, cache::CacheConfig};

/// The kind of a device, by the name of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The CPU backend of burn.
    Flex,
    /// burn's former CPU backend.
    NdArray,
    /// An NVIDIA GPU, through CUDA.
    Cuda,
    /// A GPU through Vulkan, Metal or DirectX 12.
    Wgpu,
}

impl DeviceKind {
    /// Every kind, compiled in or not.
    pub(crate) const ALL: [DeviceKind; 4] =
        [DeviceKind::Flex, DeviceKind::NdArray, DeviceKind::Cuda, DeviceKind::Wgpu];

    /// The first that this build contains.
    pub(crate) fn first() -> Self {
        Self::ALL.into_iter().find(|kind| kind.is_compiled()).unwrap_or(DeviceKind::Flex)
    }

    /// Whether this build contains it.
    pub(crate) fn is_compiled(self) -> bool {
        match self {
            DeviceKind::Flex => cfg!(feature = "flex"),
            DeviceKind::NdArray => cfg!(feature = "ndarray"),
            DeviceKind::Cuda => cfg!(feature = "cuda"),
            DeviceKind::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// The device itself, if it is compiled in and the machine has it.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] saying which of the two is missing. GPU runtimes report a missing driver by a panic; the driver is
    /// looked for first, and a first computation is tried, so that this is an error here.
    pub(crate) fn open(self) -> Result<Device, DeviceError> {
        if !self.is_compiled() {
            return Err(DeviceError::NotCompiled { kind: self });
        }
        match self {
            #[cfg(feature = "flex")]
            DeviceKind::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "kept as the second opinion on every result")]
            DeviceKind::NdArray => Ok(Device::ndarray()),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda => {
                look_for_library(self, &["libcuda.so.1", "libcuda.so", "nvcuda.dll"])?;
                tried(self, || Device::cuda(0))
            }
            #[cfg(feature = "wgpu")]
            DeviceKind::Wgpu => tried(self, || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns, reason = "which kinds remain depends on the features")]
            _ => Err(DeviceError::NotCompiled { kind: self }),
        }
    }
}

/// Makes burn keep in the user's cache folder the kernels that it compiles and which of them it found to be the fastest. Without this,
/// each run of the program would wait for both again. The folder in which the program runs has no say: burn would otherwise read a
/// `cubecl.toml` there, and take kernels from its `target`.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn keep_kernels() {
    let mut config = CubeClRuntimeConfig::default();
    config.compilation.cache = true;
    config.environment.path = CacheConfig::Global;
    // A second device finds what the first one set.
    CubeClRuntimeConfig::try_set(config.override_from_env());
}

#[cfg(feature = "cuda")]
fn look_for_library(kind: DeviceKind, names: &[&str]) -> Result<(), DeviceError> {
    // SAFETY: the driver's own library, whose initialisers are what any CUDA program runs first.
    let found = names.iter().any(|name| unsafe { libloading::Library::new(*name) }.is_ok());
    if found {
        Ok(())
    } else {
        Err(DeviceError::NotThere { kind, reason: format!("no driver library {}", names[0]) })
    }
}

/// Opens a GPU and computes one sum on it.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn tried(
    kind: DeviceKind,
    open: impl FnOnce() -> Device + std::panic::UnwindSafe,
) -> Result<Device, DeviceError> {
    keep_kernels();
    // A runtime may fail on a thread of its own, and what arrives here is only that this thread is gone: the first failure says why.
    let first: Arc<Mutex<Option<String>>> = Arc::default();
    let told = Arc::clone(&first);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let reason = first_line(panic.payload());
        told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }));
    let outcome = std::panic::catch_unwind(|| {
        let device = open();
        let sum = Tensor::<1>::ones([2], &device).sum().try_into_data();
        sum.map(|_| device).map_err(|error| error.to_string())
    });
    std::panic::set_hook(hook);
    let last = match outcome {
        Ok(Ok(device)) => return Ok(device),
        Ok(Err(reason)) => reason,
        Err(panic) => first_line(panic.as_ref()),
    };
    let reason = first.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(last);
    Err(DeviceError::NotThere { kind, reason })
}

/// The first line of a panic's message.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn first_line(panic: &(dyn std::any::Any + Send)) -> String {
    let text = inject_sipit::models::panics::message(panic);
    text.and_then(|text| text.lines().next()).unwrap_or("the runtime could not be started").to_owned()
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Flex => "flex",
            DeviceKind::NdArray => "ndarray",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Wgpu => "wgpu",
        })
    }
}

impl FromStr for DeviceKind {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DeviceKind::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| DeviceError::Unknown { found: text.to_owned() })
    }
}

/// The reason for which a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text does not name a device.
    #[error("unknown device `{found}`: expected `flex`, `ndarray`, `cuda` or `wgpu`")]
    Unknown {
        /// The text that names no device.
        found: String,
    },
    /// This build does not contain the device's backend.
    #[error("this build has no device `{kind}`: build with `--features {kind}`")]
    NotCompiled {
        /// The name of the device that was chosen.
        kind: DeviceKind,
    },
    /// This machine does not have the device.
    #[error("no device `{kind}` on this machine: {reason}")]
    NotThere {
        /// The name of the device that was chosen.
        kind: DeviceKind,
        /// The message of its runtime.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_compiled_in_is_an_error_that_says_how_to_get_it() {
        for kind in DeviceKind::ALL.into_iter().filter(|kind| !kind.is_compiled()) {
            let error = kind.open().unwrap_err();
            assert_eq!(error, DeviceError::NotCompiled { kind });
            assert!(error.to_string().contains(&format!("--features {kind}")));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert!("gpu".parse::<DeviceKind>().unwrap_err().to_string().contains("wgpu"));
    }
}
