//! The circumstances of a computation on which the rounding of states depends.

use burn::tensor::{DType, Device};

use super::{Decoder, block::Block, mapped::Mapped, weight::Weight};
use crate::host;

/// The form in which matrices enter the products of a decoder. States computed from another form differ by rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WeightsHeldAs {
    /// Tensors in F16.
    F16,
    /// Tensors in BF16.
    Bf16,
    /// Tensors in F32.
    F32,
    /// Tensors in F64.
    F64,
    /// The mapped files of the checkpoint, apart from matrices that cannot be mapped and those whose codes were restored.
    Stored,
    /// The same files, and codes are restored in each product.
    StoredCodes,
    /// Tensors in the narrower format of the checkpoint.
    StoredOnDevice,
}

/// The instructions of a CPU with which products are computed. States computed with others differ by rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Instructions {
    /// x86-64 with AVX-512.
    Avx512,
    /// x86-64 with AVX2 and fused multiply-add.
    Avx2,
    /// Another x86-64.
    X86,
    /// AArch64.
    Aarch64,
    /// Another architecture.
    Other,
}

impl Instructions {
    /// Returns the instructions with which products are computed on a device, or `None` if it is not a CPU.
    pub fn on(device: &Device) -> Option<Self> {
        (!host::is_remote(device)).then(Mapped::instructions)
    }
}

/// The circumstances of a computation on which the rounding of states depends.
///
/// A store, the journal of a study and a file of inversions record them. Results that were computed in different circumstances are not
/// mixed, because they would not be those of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Circumstances {
    /// The number of parts in which rows are computed at once, as [`Decoder::lanes`] returns it, if it is known. By default it is the
    /// number of cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<usize>,
    /// The form in which the model holds its weights, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_held_as: Option<WeightsHeldAs>,
    /// The instructions of the CPU that computes, if one does and if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Instructions>,
}

impl Decoder {
    /// Returns the circumstances on which the rounding of the states depends.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            lanes: Some(self.lanes()),
            weights_held_as: Some(self.weights_held_as()),
            instructions: self.instructions(),
        }
    }

    /// Returns the form in which the matrices are held: the form in effect, whatever [`Hold`](crate::Hold) was asked for.
    pub fn weights_held_as(&self) -> WeightsHeldAs {
        let mut weights = self.blocks.iter().flat_map(Block::weights);
        if self.holds_codes() {
            return WeightsHeldAs::StoredCodes;
        }
        if self.held_in_files() > 0 {
            return WeightsHeldAs::Stored;
        }
        let computed = self.dtype();
        let is_narrower = |weight: &Weight| match weight {
            Weight::Tensor(weight) => weight.val().dtype().size() < computed.size(),
            Weight::Mapped(_) => false,
        };
        if weights.any(is_narrower) {
            return WeightsHeldAs::StoredOnDevice;
        }
        match computed {
            DType::F64 => WeightsHeldAs::F64,
            DType::F16 => WeightsHeldAs::F16,
            DType::BF16 => WeightsHeldAs::Bf16,
            _ => WeightsHeldAs::F32,
        }
    }

    /// Returns the instructions with which products are computed, or `None` if the device is not a CPU.
    pub fn instructions(&self) -> Option<Instructions> {
        Instructions::on(&self.device())
    }
}
