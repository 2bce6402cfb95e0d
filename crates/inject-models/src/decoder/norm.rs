//! Layer norm and RMS norm.

use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor, module::layer_norm},
};

use super::{
    narrow::{in_f32, is_narrow},
    rowwise,
};
use crate::config::{NormConfig, RmsWeight};

/// A normalisation over the last dimension.
#[derive(Module, Debug)]
pub(super) struct Norm {
    pub(super) weight: Param<Tensor<1>>,
    /// Added after the product. Only a layer norm has it.
    pub(super) bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(super) config: NormConfig,
}

impl Norm {
    /// # Shapes
    ///
    /// `[..., width]` to the same.
    pub(super) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        in_f32(x, |x| self.normed(x))
    }

    fn normed<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        // Only a parameter of a 16-bit format has another one than the states here.
        let of = |param: &Param<Tensor<1>>| match param.val() {
            value if is_narrow(value.dtype()) => value.cast(DType::F32),
            value => value,
        };
        match self.config {
            NormConfig::Layer { eps } => layer_norm(x, of(&self.weight), self.bias.as_ref().map(of), eps),
            NormConfig::Rms { eps, weight } => {
                let mean_of_squares = (x.clone() * x.clone()).mean_dim(D - 1); // [..., 1]
                let factor = match weight {
                    RmsWeight::Factor => of(&self.weight),
                    RmsWeight::FactorLessOne => of(&self.weight).add_scalar(1.0),
                };
                match rowwise::is_in_memory(&x) {
                    true => rowwise::rms_norm(x, mean_of_squares, eps, factor),
                    false => x / mean_of_squares.add_scalar(eps).sqrt() * factor.unsqueeze::<D>(),
                }
            }
        }
    }
}
