//! Which tokens lie in the direction of a guessed embedding.

use burn::tensor::Tensor;
use inject_collisions::Decoder;

use crate::{InvertError, read_f32};

/// What turns the embeddings of a model into directions from their mean.
#[derive(Clone, Debug)]
pub(super) struct Directions {
    /// `[1, d_model]`
    mean: Tensor<2>,
    /// Distance of each embedding from the mean, `[vocab_size, 1]`.
    lengths: Tensor<2>,
}

/// Embeddings looked at together.
const ROWS: usize = 1024;

impl Directions {
    /// Those of a model, which `known` may hold. Those of another of the same shape would only make worse guesses.
    pub(super) fn of<'a>(known: &'a mut Option<Directions>, decoder: &Decoder) -> &'a Directions {
        let embedding = decoder.token_embedding();
        let [vocab_size, d_model] = embedding.dims();
        known.take_if(|known| (known.lengths.dims()[0], known.mean.dims()[1]) != (vocab_size, d_model));
        known.get_or_insert_with(|| Directions::new(embedding))
    }

    fn new(embedding: Tensor<2>) -> Self {
        let mean = embedding.clone().mean_dim(0);
        // In parts, which need no copy of all embeddings and stay in the cache.
        let squares =
            embedding.split(ROWS, 0).into_iter().map(|rows| (rows - mean.clone()).powi_scalar(2).sum_dim(1));
        let squares = Tensor::cat(squares.collect(), 0); // [vocab_size, 1]
        Directions { mean, lengths: squares.clamp_min(1e-12).sqrt() }
    }

    /// How nearly each token's embedding lies in the direction of each point, both seen from the mean embedding: the cosine, but
    /// for a factor that is the same for all tokens. From `[points, d_model]` to `[vocab_size, points]`.
    ///
    /// A guess by ridge regression is too short, the more so the less is known. By distance the shortest embeddings would be
    /// nearest to it, whatever its direction.
    pub(super) fn nearness(&self, decoder: &Decoder, points: Tensor<2>) -> Tensor<2> {
        let points = (points - self.mean.clone()).transpose(); // [d_model, points]
        let products = decoder.token_embedding().matmul(points.clone());
        (products - self.mean.clone().matmul(points)) / self.lengths.clone()
    }

    /// The token nearest to each point.
    pub(super) fn nearest(&self, decoder: &Decoder, points: Tensor<2>) -> Result<Vec<u32>, InvertError> {
        let columns = points.dims()[0];
        let nearness = read_f32(self.nearness(decoder, points))?;
        Ok(largest_of_columns(&nearness, columns))
    }
}

/// The row of the largest value in each of `columns` columns.
fn largest_of_columns(values: &[f32], columns: usize) -> Vec<u32> {
    let mut largest = vec![f32::NEG_INFINITY; columns];
    let mut rows = vec![0; columns];
    for (row, values) in values.chunks(columns).enumerate() {
        for ((value, largest), of) in values.iter().zip(&mut largest).zip(&mut rows) {
            if value > largest {
                (*largest, *of) = (*value, row as u32);
            }
        }
    }
    rows
}
