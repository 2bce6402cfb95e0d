//! The embedding and the head of a model, for looking through all tokens at once.

mod duplicates;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::OnceLock};

use crate::{
    collisions::{Arithmetic, approximate_products::Bits},
    error::InvertError,
    models::{Decoder, Logits, ModelError, Progress, TokenBatch, Unit, config::Head},
    noise::spread,
    tensors::{read, read_f32},
    token_rows::{Largest, TokenRows, Wanted},
    tuning::{EXPECTATION_PROMPTS, EXPECTATION_TOGETHER, LENGTHS_TOGETHER, MEANS_TOGETHER},
};
use burn::tensor::{DType, Tensor, activation};

use self::duplicates::Duplicates;

/// A model's embedding and head, in as few digits as the order of tokens needs: one byte a coordinate if the processor multiplies
/// such numbers. Looking through all tokens costs as much as reading the table, a quarter of its cost in f32.
///
/// The tables are made when they are first needed, and all sources of candidates share them.
#[derive(Debug)]
pub struct Vocabulary<'a> {
    decoder: &'a Decoder,
    arithmetic: Arithmetic,
    embedding: OnceLock<TokenRows>,
    /// The head, if it is not the embedding.
    head: OnceLock<TokenRows>,
    directions: OnceLock<Directions>,
    expected_anywhere: OnceLock<Vec<f64>>,
    duplicates: OnceLock<Duplicates>,
}

/// The values that turn embeddings into directions from their mean.
#[derive(Debug)]
struct Directions {
    mean: Tensor<2>, // [1, d_model]
    /// The inverse of each embedding's distance from the mean.
    per_length: Vec<f32>,
}

impl<'a> Vocabulary<'a> {
    /// Creates the vocabulary of a model. Nothing is computed before it is needed.
    pub fn new(decoder: &'a Decoder, arithmetic: Arithmetic) -> Self {
        Vocabulary {
            decoder,
            arithmetic,
            embedding: OnceLock::new(),
            head: OnceLock::new(),
            directions: OnceLock::new(),
            expected_anywhere: OnceLock::new(),
            duplicates: OnceLock::new(),
        }
    }

    /// Returns the model whose vocabulary this is.
    pub fn decoder(&self) -> &'a Decoder {
        self.decoder
    }

    /// Approximate logits of one state after the final norm, in the right order except for near ties.
    ///
    /// # Shapes
    ///
    /// `[1, d_model]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    ///
    /// # Panics
    ///
    /// Unless there is one state.
    pub fn logits(&self, state: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        assert_eq!(state.dims()[0], 1, "logits are of one state");
        Ok(self.logits_by_chunk(state)?.concat())
    }

    /// Returns the approximate nearness of each token's embedding to the direction of a point, both seen from the mean embedding:
    /// the cosine, up to a factor that is the same for all tokens.
    ///
    /// A guess by ridge regression is too short, the more so the less is known. By distance the shortest embeddings would be
    /// nearest to it, whatever its direction.
    ///
    /// # Shapes
    ///
    /// `[1, d_model]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    ///
    /// # Panics
    ///
    /// Unless there is one point.
    pub fn nearness(&self, point: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        assert_eq!(point.dims()[0], 1, "nearness is to one point");
        self.along(point - self.directions()?.mean.clone())
    }

    /// Returns the same for a direction in place of a point: the cosine of each token's embedding, seen from the mean embedding, up to a
    /// factor that is the same for all tokens.
    ///
    /// # Shapes
    ///
    /// `[1, d_model]`.
    pub(crate) fn along(&self, direction: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        let mut nearness = self.products_from_mean(direction)?;
        for (near, per_length) in nearness.iter_mut().zip(&self.directions()?.per_length) {
            *near *= per_length;
        }
        Ok(nearness)
    }

    /// Returns the approximate nearness of each token's embedding to a point twice: by the cosine, as [`Vocabulary::nearness`], and by the
    /// distance, as minus half of its square up to a constant.
    ///
    /// # Shapes
    ///
    /// `[1, d_model]`.
    pub(crate) fn nearness_by_both(&self, point: Tensor<2>) -> Result<[Vec<f32>; 2], InvertError> {
        let directions = self.directions()?;
        let products = self.products_from_mean(point - directions.mean.clone())?;
        let lengths = products.iter().zip(&directions.per_length);
        let by_cosine = lengths.clone().map(|(product, per_length)| product * per_length).collect();
        let by_distance = lengths.map(|(product, per_length)| product - 0.5 / per_length.powi(2)).collect();
        Ok([by_cosine, by_distance])
    }

    /// The approximate products of a direction with the embeddings seen from their mean.
    fn products_from_mean(&self, direction: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        let of_mean = self.directions()?.products_with_mean(direction.clone())?;
        let mut products = self.embedding()?.products(direction)?.concat();
        products.iter_mut().for_each(|product| *product -= of_mean[0]);
        Ok(products)
    }

    /// For each of some points the token with the largest [`Vocabulary::nearness`].
    ///
    /// # Shapes
    ///
    /// `[points, d_model]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    pub fn nearest(&self, points: Tensor<2>) -> Result<Vec<u32>, InvertError> {
        let count = points.dims()[0];
        let directions = self.directions()?;
        let (points, of_mean) = directions.seen_from_mean(points)?;
        let begin = || vec![Largest::keeping(Wanted::first(1)); count];
        let parts = self.embedding()?.fold(points, begin, |nearest: &mut Vec<Largest>, tile| {
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    let per_length = &directions.per_length[tile.tokens()];
                    for point in tile.points() {
                        let (products, of_mean) = (tile.of(point), of_mean[point]);
                        nearest[point].take_computed(
                            tile.tokens().start,
                            products.len(),
                            #[inline(always)]
                            |begin, out| {
                                let given = products[begin..].iter().zip(&per_length[begin..]);
                                for (out, (product, per_length)) in out.iter_mut().zip(given) {
                                    *out = (product - of_mean) * per_length;
                                }
                            },
                        );
                    }
                },
            );
        })?;
        let of_point = |point: usize| {
            let nearest = Largest::of_all(parts.iter().map(|part| &part[point]), Wanted::first(1));
            nearest.first().map_or(0, |&(id, _)| id)
        };
        Ok((0..count).map(of_point).collect())
    }

    /// The logits of states after the final norm: `[states, d_model]` to `[states, tokens]` for each chunk of tokens.
    pub(crate) fn logits_by_chunk(&self, states: Tensor<2>) -> Result<Vec<Vec<f32>>, InvertError> {
        let mut logits = self.head()?.products(states)?;
        if let Some(cap) = self.decoder.config().logit_cap {
            logits.iter_mut().flatten().for_each(|logit| *logit = cap as f32 * (*logit / cap as f32).tanh());
        }
        Ok(logits)
    }

    /// The logarithm of every token's probability after a single token, averaged over tokens of the whole vocabulary: roughly its
    /// frequency in the model's training text.
    pub(crate) fn expected_anywhere(
        &self,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<&[f64], InvertError> {
        known(&self.expected_anywhere, || {
            let vocab_size = self.decoder.config().vocab_size;
            let ids = spread(vocab_size as u32).take(EXPECTATION_PROMPTS);
            let prompts: Vec<[u32; 1]> = ids.map(|id| [id]).collect();
            let mut sums = vec![0.0; vocab_size];
            for (batch, together) in prompts.chunks(EXPECTATION_TOGETHER).enumerate() {
                let forward = self.decoder.forward(&TokenBatch::new(together)?, &[], Logits::Last)?;
                if let Some(logits) = forward.logits {
                    // Row by row: all shares together in f64 would take twice the memory of the logits again.
                    for row in 0..together.len() {
                        let shares = read(activation::softmax(logits.clone().narrow(0, row, 1), 2))?;
                        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
                    }
                }
                let done = (batch * EXPECTATION_TOGETHER + together.len()) as u64;
                progress(Progress::new("expect", Unit::Prompts, done, prompts.len() as u64));
            }
            // A probability may underflow to zero.
            Ok(sums.iter().map(|sum| sum.max(f64::MIN_POSITIVE).ln()).collect())
        })
        .map(Vec::as_slice)
    }

    /// Returns all other tokens whose embeddings lie within this share of the median length of embeddings, and few others.
    pub(crate) fn duplicates(&self, token: u32, within: f64) -> Result<Vec<u32>, InvertError> {
        Ok(known(&self.duplicates, || Duplicates::of(self.decoder))?.within(token, within))
    }

    fn embedding(&self) -> Result<&TokenRows, InvertError> {
        known(&self.embedding, || self.table(|tokens| self.decoder.token_embeddings(tokens)))
    }

    fn head(&self) -> Result<&TokenRows, InvertError> {
        match self.decoder.config().head {
            Head::Absent => Err(ModelError::NoHead.into()),
            Head::Tied => self.embedding(),
            Head::Untied => known(&self.head, || self.table(|tokens| self.decoder.head_rows(tokens))),
        }
    }

    fn table(&self, rows: impl Fn(Range<usize>) -> Tensor<2> + Sync) -> Result<TokenRows, InvertError> {
        let config = self.decoder.config();
        let shape = [config.vocab_size, config.d_model];
        TokenRows::of_parts(shape, rows, None, Bits::Eight, self.arithmetic)
    }

    fn directions(&self) -> Result<&Directions, InvertError> {
        known(&self.directions, || Directions::of(self.decoder))
    }
}

impl Directions {
    fn of(decoder: &Decoder) -> Result<Self, InvertError> {
        let config = decoder.config();
        let vocab_size = config.vocab_size;
        let parts = |len: usize| {
            let part = move |begin| decoder.token_embeddings(begin..vocab_size.min(begin + len));
            (0..vocab_size).step_by(len).map(part)
        };
        // The share of a part in the mean, which a narrow format holds where a sum might overflow.
        let share = |rows: Tensor<2>| {
            let share = rows.dims()[0] as f64 / vocab_size as f64;
            rows.mean_dim(0).mul_scalar(share)
        };
        let shares = parts(MEANS_TOGETHER.div_ceil(config.d_model)).map(share).collect();
        let mean = Tensor::cat(shares, 0).sum_dim(0); // [1, d_model]
        // Parts need no copy of all embeddings and stay in the cache.
        let of_part = |rows: Tensor<2>| {
            let squares = (rows - mean.clone()).cast(DType::F32).powi_scalar(2).sum_dim(1);
            read_f32(squares.clamp_min(1e-12).sqrt().recip())
        };
        let parts: Vec<Vec<f32>> = parts(LENGTHS_TOGETHER).map(of_part).collect::<Result<_, _>>()?;
        Ok(Directions { mean, per_length: parts.concat() })
    }

    /// Points relative to the mean embedding, `[points, d_model]`, and their products with it.
    fn seen_from_mean(&self, points: Tensor<2>) -> Result<(Tensor<2>, Vec<f32>), InvertError> {
        let points = points - self.mean.clone();
        let of_mean = self.products_with_mean(points.clone())?;
        Ok((points, of_mean))
    }

    fn products_with_mean(&self, points: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        read_f32(points.matmul(self.mean.clone().transpose()))
    }
}

/// The content of a cell, which is made on the first call.
fn known<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, InvertError>) -> Result<&T, InvertError> {
    match cell.get() {
        Some(made) => Ok(made),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}
