//! Linear maps.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use super::{
    full_precision::matmul,
    narrow::is_narrow,
    weight::{Weight, in_dtype},
};
use crate::tuning::{FEW_ROWS, LONGEST_RUN};

/// The affine map `x W + b`, where `W` has the shape `[in, out]`.
#[derive(Module, Debug)]
pub(super) struct Linear {
    pub(super) weight: Weight,
    pub(super) bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// # Shapes
    ///
    /// `[rows, in]` to `[rows, out]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let product = match &self.weight {
            Weight::Tensor(weight) => {
                let weight = in_dtype(weight.val(), x.dtype());
                product(x, weight)
            }
            Weight::Mapped(mapped) => mapped.product(x, 0..mapped.dims()[0]),
        };
        match &self.bias {
            None => product,
            Some(bias) => product + bias.val().unsqueeze::<2>(),
        }
    }
}

/// Multiplies `x` by `weight`; for few rows, in pieces of the sum over `in`.
///
/// The rounding error grows with the root of the longest run of additions. It matters at attention sinks, whose states of
/// norm 1e4 depend on a few such sums. A product of few rows spends its time reading the matrix, so summing the pieces costs
/// nothing there. The pieces form a batch, which CPU backends compute on all cores, while they compute so small a product
/// as a whole on one.
fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [rows, d_in] = x.dims();
    let [_, d_out] = weight.dims();
    let pieces = pieces(d_in);
    // A 16-bit format would round each piece.
    if rows > FEW_ROWS || pieces == 1 || is_narrow(x.dtype()) {
        return matmul(x, weight);
    }
    let run = d_in / pieces;
    let x = x.reshape([rows, pieces, run]).swap_dims(0, 1); // [piece, row, run]
    let weight = weight.reshape([pieces, run, d_out]);
    matmul(x, weight).sum_dim(0).reshape([rows, d_out])
}

/// The number of equal pieces of a sum of `d_in` products: the smallest that leaves no piece longer than 192, or 1 if that
/// would take more than twice as many as unequal pieces would. The widths of transformers are multiples of 64, for which it
/// never does.
pub(super) fn pieces(d_in: usize) -> usize {
    let fewest = d_in.div_ceil(LONGEST_RUN);
    (fewest..=2 * fewest).find(|&pieces| d_in.is_multiple_of(pieces)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution};

    use super::*;

    #[test]
    fn few_and_many_rows_give_the_same_product_but_for_rounding() {
        for device in inject_testing::compiled() {
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
