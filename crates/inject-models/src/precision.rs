//! The format in which weights are held, and the format that is computed in.

use burn::tensor::Device;

use crate::{format::FloatFormat, host};

/// The format in which a model holds its weights, and the format in which it computes. They are independent: a model that holds
/// its matrices in BF16 and computes in F32 gives the states of one that holds them in F32, up to the order of additions.
///
/// The default is fastest, and exact: weights as [`Hold::Fastest`] chooses, computed in F32. A [`FloatFormat`] alone is the format of
/// both.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_models::{FloatFormat, Model, Origin, Precision};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
/// let model = Model::load(Origin::of_folder(&folder), Precision::default(), &Device::flex())?;
/// assert_eq!(model.decoder.held_in_files(), 60_032); // 30,016 numbers of two bytes
/// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
/// assert_eq!(model.decoder.held_in_files(), 0); // widened to tensors
/// # Ok::<(), inject_models::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Precision {
    /// The format in which the matrices are held.
    pub hold: Hold,
    /// The format of states, of vectors, and of the result of every operation.
    pub compute: FloatFormat,
}

/// The place and the format of a model's matrices: the linear maps, the token embedding and the head. Everything else is small
/// and in the format of the computation.
///
/// The program's `--hold f32` is [`Hold::Computed`] in F32. Its `--hold stored` is [`Hold::Stored`] on a CPU and
/// [`Hold::StoredOnDevice`] on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// [`Hold::Stored`] for matrices of plain numbers, if F32 is computed in and the device uses the memory of the machine: that costs no
    /// time. [`Hold::Computed`] for all others. Quantised matrices would take a fraction of the memory in their files, and a step up to
    /// twice the time.
    #[default]
    Fastest,
    /// As tensors in the format that is computed in.
    Computed,
    /// As tensors in the format of the checkpoint, if it is narrower. A matrix is widened on the device each time it is used. This
    /// is for GPUs.
    StoredOnDevice,
    /// In the mapped files of the checkpoint, if these are safetensors or GGUF files. Matrices of F64 and those of pickled files
    /// are held as [`Hold::Computed`]. This is for CPUs: the products are computed there, whatever the device, and widen the numbers,
    /// or restore them from quantised codes, on the way.
    ///
    /// Loading takes no longer for a larger model, and the system keeps as many pages in memory as it has room for. The files must
    /// not change as long as the model exists. Their numbers are not looked at in advance: one that is not finite gives states
    /// that are not finite.
    Stored,
}

impl Hold {
    /// Returns the same way, but [`Hold::Fastest`] only where it leaves matrices in their files.
    pub(crate) fn on(self, device: &Device, compute: FloatFormat) -> Self {
        match self {
            Hold::Fastest if compute != FloatFormat::F32 || host::is_remote(device) => Hold::Computed,
            chosen => chosen,
        }
    }
}

impl Default for Precision {
    fn default() -> Self {
        Precision::new(Hold::Fastest, FloatFormat::F32)
    }
}

impl Precision {
    /// Weights that are held in F32 and computed in F32.
    pub const F32: Precision = Precision { hold: Hold::Computed, compute: FloatFormat::F32 };

    /// Makes a precision of its two parts.
    pub fn new(hold: Hold, compute: FloatFormat) -> Self {
        Precision { hold, compute }
    }
}

impl From<FloatFormat> for Precision {
    fn from(compute: FloatFormat) -> Self {
        Precision { hold: Hold::Computed, compute }
    }
}
