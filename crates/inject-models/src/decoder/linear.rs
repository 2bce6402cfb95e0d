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
        let product = product(x, self.weight.val());
        match &self.bias {
            None => product,
            Some(bias) => product + bias.val().unsqueeze::<2>(),
        }
    }
}

/// A product of few rows spends its time reading the matrix, so there the sum over `in` is taken in pieces, each summed on
/// its own: the rounding error grows with the root of the longest run of additions. It matters at attention sinks, whose
/// states of norm 1e4 hang on a few such sums.
fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    const FEW_ROWS: usize = 28;
    const LONGEST_RUN: usize = 192;
    let [rows, d_in] = x.dims();
    let pieces = d_in.div_ceil(LONGEST_RUN);
    if rows > FEW_ROWS || pieces == 1 {
        return x.matmul(weight);
    }
    let run = d_in.div_ceil(pieces);
    let piece = |begin: usize| {
        let len = run.min(d_in - begin);
        x.clone().narrow(1, begin, len).matmul(weight.clone().narrow(0, begin, len))
    };
    (run..d_in).step_by(run).fold(piece(0), |sum, begin| sum + piece(begin))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution};

    use super::*;

    #[test]
    fn few_and_many_rows_give_the_same_product_but_for_rounding() {
        for device in inject_devices::compiled() {
            device.seed(7);
            let x = Tensor::<2>::random([40, 1000], Distribution::Normal(0.0, 1.0), (&device, DType::F32));
            let weight =
                Tensor::<2>::random([1000, 24], Distribution::Normal(0.0, 1.0), (&device, DType::F32));
            let many = product(x.clone(), weight.clone()).narrow(0, 0, 8);
            let few = product(x.narrow(0, 0, 8), weight);
            let difference = (many - few).abs().max().into_scalar::<f32>();
            // A sum of 1000 products of norm about 32: each run of additions is off by at most its length in roundings
            // of the partial sums, about 1000 * 2^-24 * 32 in the worst case.
            assert!(difference < 2e-3, "{difference}");
        }
    }
}
