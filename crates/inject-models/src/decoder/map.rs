//! Decoders with other matrices.

use burn::{module::Param, tensor::Tensor};

use super::{
    Decoder,
    linear::Linear,
    weight::{Table, Weight},
};

/// The place of a matrix in a decoder. Linear maps have the shape `[d_in, d_out]`, tables `[rows, d_model]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Matrix {
    /// The token embedding, `[vocab_size, d_model]`. It is the head too if the model has no head of its own.
    Embedding,
    /// The table of learned positions, `[max_len, d_model]`.
    Positions,
    /// Queries, keys and values of a block side by side, `[d_model, (n_heads + 2 n_kv_heads) d_head]`.
    QueryKeyValue {
        /// The number of the block, from 0.
        block: usize,
    },
    /// The map from the heads of a block back to the residual stream, `[n_heads d_head, d_model]`.
    AttentionOut {
        /// The number of the block, from 0.
        block: usize,
    },
    /// The first map of a feed-forward branch, `[d_model, d_ff]`, or gate and up side by side,
    /// `[d_model, 2 d_ff]`.
    Up {
        /// The number of the block, from 0.
        block: usize,
    },
    /// The second map of a feed-forward branch, `[d_ff, d_model]`.
    Down {
        /// The number of the block, from 0.
        block: usize,
    },
    /// The head, if it is not the embedding, `[vocab_size, d_model]`.
    Head,
}

impl Matrix {
    /// Returns whether the matrix is a linear map inside a block, rather than a table of rows or the head.
    pub fn in_block(self) -> bool {
        match self {
            Matrix::QueryKeyValue { .. }
            | Matrix::AttentionOut { .. }
            | Matrix::Up { .. }
            | Matrix::Down { .. } => true,
            Matrix::Embedding | Matrix::Positions | Matrix::Head => false,
        }
    }
}

impl Decoder {
    /// Returns the same decoder with `map` applied to each matrix. Biases and norms stay, and a parameter that can be
    /// trained still can. Matrices that are held in another format than is computed in are widened first, and stay so.
    ///
    /// # Panics
    ///
    /// Panics if `map` changes a shape.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{FloatFormat, Logits, Matrix, Model, Origin, Tap, TokenBatch, host::to_host};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// // Without the heads, no earlier token can influence a state.
    /// let deaf = model.decoder.map_matrices(&mut |matrix, values| match matrix {
    ///     Matrix::AttentionOut { .. } => values.zeros_like(),
    ///     _ => values,
    /// });
    /// let prompts = TokenBatch::new(&[[3, 1, 4], [1, 5, 4]])?;
    /// let states = deaf.forward(&prompts, &[Tap::FinalNorm], Logits::None)?.states.remove(&Tap::FinalNorm).unwrap();
    /// let last = states.narrow(1, 2, 1);
    /// let [a, b] = [0, 1].map(|row| to_host::<f32, 3>(last.clone().narrow(0, row, 1)));
    /// assert_eq!(a?, b?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_matrices(mut self, map: &mut dyn FnMut(Matrix, Tensor<2>) -> Tensor<2>) -> Self {
        let (device, dtype) = (self.device(), self.dtype());
        let mut mapped = |matrix: Matrix, param: Param<Tensor<2>>| {
            let shape = param.dims();
            // The graph of gradients begins anew at the result.
            param.map(|values| {
                let trainable = values.is_require_grad();
                let values = map(matrix, values.detach()).detach();
                assert_eq!(values.dims(), shape, "{matrix:?} must keep its shape");
                values.set_require_grad(trainable)
            })
        };
        let embedding = self.embedding.into_param(&device, dtype);
        self.embedding = Table::Tensor(mapped(Matrix::Embedding, embedding));
        self.positions = self.positions.map(|positions| mapped(Matrix::Positions, positions));
        for (block, parts) in self.blocks.iter_mut().enumerate() {
            let mut linear = |matrix: Matrix, linear: &mut Linear| {
                let weight = linear.weight.clone().into_param(&device, dtype);
                linear.weight = Weight::Tensor(mapped(matrix, weight));
            };
            linear(Matrix::QueryKeyValue { block }, &mut parts.attention.qkv);
            linear(Matrix::AttentionOut { block }, &mut parts.attention.out);
            linear(Matrix::Up { block }, &mut parts.feed_forward.up);
            linear(Matrix::Down { block }, &mut parts.feed_forward.down);
        }
        self.head =
            self.head.map(|head| Table::Tensor(mapped(Matrix::Head, head.into_param(&device, dtype))));
        self
    }
}
