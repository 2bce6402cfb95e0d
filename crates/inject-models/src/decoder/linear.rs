//! A linear map whose matrix lies as `[in, out]`.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

/// `x W + b`.
#[derive(Module, Debug)]
pub(super) struct Linear {
    /// Shape `[in, out]`: read in order by the matrix product, several times faster than a transposed view.
    pub(super) weight: Param<Tensor<2>>,
    pub(super) bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// # Shapes
    ///
    /// `[rows, in]` to `[rows, out]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let product = x.matmul(self.weight.val());
        match &self.bias {
            None => product,
            Some(bias) => product + bias.val().unsqueeze::<2>(),
        }
    }
}
