//! Layer norm and RMS norm.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, module::layer_norm},
};

use crate::config::{NormConfig, RmsWeight};

/// A normalisation over the last dimension.
#[derive(Module, Debug)]
pub(super) struct Norm {
    pub(super) weight: Param<Tensor<1>>,
    /// Layer norm only.
    pub(super) bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(super) config: NormConfig,
}

impl Norm {
    /// # Shapes
    ///
    /// `[..., width]` to the same.
    pub(super) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.config {
            NormConfig::Layer { eps } => {
                layer_norm(x, self.weight.val(), self.bias.as_ref().map(Param::val), eps)
            }
            NormConfig::Rms { eps, weight } => {
                let rms = (x.clone() * x.clone()).mean_dim(D - 1).add_scalar(eps).sqrt(); // [..., 1]
                let factor = match weight {
                    RmsWeight::Factor => self.weight.val(),
                    RmsWeight::FactorLessOne => self.weight.val().add_scalar(1.0),
                };
                x / rms * factor.unsqueeze::<D>()
            }
        }
    }
}
