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
        let chunk: usize = std::env::var("CHUNK").ok().and_then(|c| c.parse().ok()).unwrap_or(1 << 30);
        let d_in = x.dims()[1];
        let mut product = None;
        for begin in (0..d_in).step_by(chunk) {
            let len = chunk.min(d_in - begin);
            let part = x.clone().narrow(1, begin, len).matmul(self.weight.val().narrow(0, begin, len));
            product = Some(match product { None => part, Some(sum) => sum + part });
        }
        let product: Tensor<2> = product.expect("x");
        match &self.bias {
            None => product,
            Some(bias) => product + bias.val().unsqueeze::<2>(),
        }
    }
}
