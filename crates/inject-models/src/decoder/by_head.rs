//! Projections of queries, keys and values that a checkpoint stores head by head.
//!
//! The columns of such a projection (GPT-NeoX) are the query, key and value of the first head, then those of the second, and
//! so on. The decoder keeps the queries of all heads side by side, then the keys, then the values.
//!
//! # Source
//!
//! Hugging Face transformers 5.23, `modeling_gpt_neox.py` (`GPTNeoXAttention.forward`: `view`, then `chunk`).

use burn::{module::Param, tensor::Tensor};

use super::{linear::Linear, weight::Weight};

/// The number of matrices side by side: query, key and value.
const PARTS: usize = 3;

/// Orders the columns of a stored projection as the decoder has them.
pub(super) fn loaded(linear: Linear, n_heads: usize) -> Linear {
    reordered(linear, [n_heads, PARTS])
}

/// Orders the columns of the decoder's projection as they are stored.
pub(super) fn stored(linear: Linear, n_heads: usize) -> Linear {
    reordered(linear, [PARTS, n_heads])
}

/// Orders the columns of a matrix for a stored projection as the decoder has them.
pub(super) fn loaded_matrix(matrix: Tensor<2>, n_heads: usize) -> Tensor<2> {
    exchanged(matrix, [n_heads, PARTS])
}

fn reordered(linear: Linear, counts: [usize; 2]) -> Linear {
    let columns = |t: Tensor<2>| exchanged(t, counts);
    let weight = match linear.weight {
        Weight::Tensor(weight) => Weight::Tensor(weight.map(columns)),
        Weight::Mapped(mapped) => Weight::Mapped(mapped.exchanged(counts)),
    };
    let bias =
        linear.bias.map(|bias: Param<Tensor<1>>| bias.map(|bias| columns(bias.unsqueeze()).squeeze_dim(0)));
    Linear { weight, bias }
}

/// Exchanges the two outer ones of three nested counts of columns.
fn exchanged(matrix: Tensor<2>, [outer, inner]: [usize; 2]) -> Tensor<2> {
    let [rows, width] = matrix.dims();
    matrix
        .reshape([rows, outer, inner, width / (outer * inner)])
        .swap_dims(1, 2) // [rows, inner, outer, d_head]
        .reshape([rows, width])
}
