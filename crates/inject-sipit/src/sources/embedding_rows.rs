//! The search for the embedding rows nearest to a point.

use std::ops::Range;

use crate::{
    error::InvertError,
    models::{Decoder, host},
    tensors::read,
    tuning::{POINTS_TOGETHER, ROWS_TOGETHER},
};
use burn::tensor::{DType, Tensor};

use super::descent::{upload, wide};

/// The rows of the embedding, prepared for distances to points. The table stays where the model holds it.
#[derive(Clone, Debug)]
pub(super) struct EmbeddingRows {
    decoder: Decoder,
    /// Half the squared norm of each row, `[vocab_size, 1]`.
    half_squares: Tensor<2>,
    dtype: DType,
}

impl EmbeddingRows {
    pub(super) fn of(decoder: &Decoder) -> Self {
        let dtype = wide(decoder);
        let half_squares = over_chunks(decoder, |tokens| {
            let rows = decoder.token_embeddings(tokens).cast(dtype);
            (rows.clone() * rows).sum_dim(1).mul_scalar(0.5)
        });
        // A clone shares the weights.
        EmbeddingRows { decoder: decoder.clone(), half_squares, dtype }
    }

    fn d_model(&self) -> usize {
        self.decoder.config().d_model
    }

    /// Returns the nearness of each row to each point: `<row, point> - |row|^2 / 2`, which decreases as their distance grows.
    ///
    /// # Shapes
    ///
    /// `[points, d_model]` to `[vocab_size, points]`.
    fn nearness(&self, points: &[f64]) -> Tensor<2> {
        let d_model = self.d_model();
        let points = upload(points, [points.len() / d_model, d_model], &self.decoder, self.dtype);
        let products = over_chunks(&self.decoder, |tokens| {
            self.decoder.products_with_embeddings(points.clone(), tokens).transpose() // [tokens, points]
        });
        products - self.half_squares.clone()
    }

    /// Returns the nearness of each row to one point, on the host.
    pub(super) fn nearness_to(&self, point: &[f64]) -> Result<Vec<f64>, InvertError> {
        read(self.nearness(point))
    }

    /// Returns the row nearest to each point.
    pub(super) fn nearest(&self, points: &[f64]) -> Result<Vec<u32>, InvertError> {
        let d_model = self.d_model();
        let mut ids = Vec::with_capacity(points.len() / d_model);
        // The result has an entry for each row and point, so only a few points are compared at a time.
        for points in points.chunks(POINTS_TOGETHER * d_model) {
            let nearest = host::read(self.nearness(points).argmax(0))?; // [1, points]
            ids.extend(nearest.iter::<i64>().map(|id| id as u32));
        }
        Ok(ids)
    }

    /// Returns some rows, `[ids, d_model]`, in the model's own number format.
    pub(super) fn rows(&self, ids: &[u32]) -> Tensor<2> {
        self.decoder.embeddings_of(ids)
    }

    /// Returns one row, on the host.
    pub(super) fn row(&self, id: u32) -> Result<Vec<f64>, InvertError> {
        read(self.rows(&[id]))
    }
}

/// Applies `f` to a few tokens at a time, and puts the results one below the other.
fn over_chunks(decoder: &Decoder, f: impl Fn(Range<usize>) -> Tensor<2>) -> Tensor<2> {
    let tokens = decoder.config().vocab_size;
    let chunk = |begin: usize| f(begin..tokens.min(begin + ROWS_TOGETHER));
    Tensor::cat((0..tokens).step_by(ROWS_TOGETHER).map(chunk).collect(), 0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::descent::tests::{for_each_model, point},
        *,
    };

    #[test]
    fn the_nearest_row_is_that_of_plain_distances() {
        for_each_model(|case, decoder| {
            let d_model = decoder.config().d_model;
            let rows = EmbeddingRows::of(decoder);
            let table = read(decoder.token_embedding()).unwrap();
            let points = point(5 * d_model);
            let plain: Vec<u32> = points
                .chunks(d_model)
                .map(|point| {
                    let distance = |row: &[f64]| crate::collisions::distance(row, point);
                    let distances: Vec<f64> = table.chunks(d_model).map(distance).collect();
                    (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap()
                        as u32
                })
                .collect();
            assert_eq!(rows.nearest(&points).unwrap(), plain, "{case}");
            assert_eq!(rows.nearest(&read(rows.rows(&[3, 96, 0])).unwrap()).unwrap(), [3, 96, 0], "{case}");
            assert_eq!(rows.row(41).unwrap(), table[41 * d_model..42 * d_model], "{case}");
        });
    }
}
