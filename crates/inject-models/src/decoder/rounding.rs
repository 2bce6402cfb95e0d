//! The circumstances of a computation, beside the number of lanes, on which the rounding of states depends.

use burn::tensor::DType;

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
    /// The mapped files of the checkpoint, apart from matrices that cannot be mapped.
    Stored,
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

impl Decoder {
    /// Returns the form in which the matrices are held. A [`Hold`](crate::Hold) that leaves the choice open, or that the checkpoint
    /// does not allow, is not returned: this is the form in effect.
    pub fn weights_held_as(&self) -> WeightsHeldAs {
        let mut weights = self.blocks.iter().flat_map(Block::weights);
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
        (!host::is_remote(&self.device())).then(Mapped::instructions)
    }
}
