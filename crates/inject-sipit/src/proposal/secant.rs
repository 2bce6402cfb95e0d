//! The secant search: where the tested candidates point to.

mod recall;

use burn::tensor::{Tensor, TensorData};
use inject_collisions::{Decoder, distance};
use nalgebra::{DMatrix, DVector};

use self::recall::Memory;
use super::{Open, Place, Proposer, most_likely};
use crate::{InvertError, noise::spread, read, read_f32};

/// Guesses the embedding of the token looked for from the candidates tested so far, and proposes the tokens nearest to it.
///
/// Around the state looked for, a token's state is roughly a linear function of its embedding. So the affine combination of
/// tested states that comes closest to the state given, applied to their embeddings, is a guess of the embedding; the tokens
/// nearest to it are tested, and make the next guess better. It needs no calibration: the model, the prefix and the depth are
/// whatever they are.
///
/// With `x_i` the difference of a tested state and the one given, `G` their products and `w_i` weights that fall with distance,
/// the combination is `z / sum(z)` with `(G + lambda / w) z = 1`: ridge regression's intercept at the state given.
///
/// What was tested at earlier positions is remembered: one linear map from states to embeddings, fitted to all of it, drafts the
/// positions to come.
#[derive(Clone, Debug)]
pub struct Secant {
    limit: usize,
    /// The position at hand, and how many candidates were proposed there.
    here: Option<(u64, usize)>,
    proposed: usize,
    memory: Memory,
    /// Half the squared length of each token's embedding, `[vocab_size, 1]`: the same for every guess.
    half_squares: Option<Tensor<2>>,
}

/// Candidates a round.
const ROUND: usize = 64;

/// Candidates that must be tested before they can point anywhere; until then it is other sources' turn.
const ENOUGH: usize = 64;

/// Candidates at the first position, before the scan, whose first tokens are the common ones.
const FIRST: usize = 256;

/// Tested candidates used, the nearest first.
const MOST: usize = 256;

/// Ridge, as a share of the mean square of the tested states' distances.
const RIDGE: f64 = 1e-2;

impl Secant {
    /// Up to `limit` candidates at a position.
    pub fn up_to(limit: usize) -> Self {
        Secant { limit, here: None, proposed: 0, memory: Memory::default(), half_squares: None }
    }

    /// The guessed embedding.
    fn guess(&self, place: &Place<'_>) -> Result<Vec<f64>, InvertError> {
        let wanted = place.target.state(place.position());
        let mut near: Vec<(f64, &(u32, Vec<f64>))> =
            place.tested.sample().iter().map(|tested| (distance(&tested.1, wanted), tested)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(MOST);
        let (n, d) = (near.len(), wanted.len());
        let differences = DMatrix::from_fn(d, n, |i, j| near[j].1.1[i] - wanted[i]);
        let mut products = differences.transpose() * &differences;
        let nearest = near[0].0.max(f64::MIN_POSITIVE);
        let scale = RIDGE * products.trace() / n as f64;
        for (i, (away, _)) in near.iter().enumerate() {
            products[(i, i)] += scale * (away / nearest).powi(2) + f64::MIN_POSITIVE;
        }
        let ones = DVector::from_element(n, 1.0);
        let z = match products.cholesky() {
            Some(factor) => factor.solve(&ones),
            None => ones,
        };
        let sum = z.sum();
        let ids: Vec<u32> = near.iter().map(|(_, tested)| tested.0).collect();
        let embeddings = read(embeddings(place.decoder, &ids))?;
        let mut guess = vec![0.0; embeddings.len() / n];
        for (row, share) in embeddings.chunks(guess.len()).zip(z.iter()) {
            guess.iter_mut().zip(row).for_each(|(sum_of, value)| *sum_of += share / sum * value);
        }
        Ok(guess)
    }

    /// The token nearest to each point.
    fn nearest(&mut self, decoder: &Decoder, points: Tensor<2>) -> Result<Vec<u32>, InvertError> {
        let columns = points.dims()[0];
        let nearness = read_f32(self.nearness(decoder, points))?;
        Ok(largest_of_columns(&nearness, columns))
    }

    /// How near each token's embedding lies to each point: `e . p - |e|^2 / 2`, which orders as the distance does. From
    /// `[points, d_model]` to `[vocab_size, points]`.
    fn nearness(&mut self, decoder: &Decoder, points: Tensor<2>) -> Tensor<2> {
        let embedding = decoder.token_embedding();
        // Another model's would be of another length, or only make worse guesses.
        self.half_squares.take_if(|known| known.dims()[0] != decoder.config().vocab_size);
        let half_squares = self
            .half_squares
            .get_or_insert_with(|| embedding.clone().powi_scalar(2).sum_dim(1).mul_scalar(0.5))
            .clone();
        embedding.matmul(points.transpose()) - half_squares
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

/// The embeddings of some tokens, `[tokens, d_model]`.
fn embeddings(decoder: &Decoder, ids: &[u32]) -> Tensor<2> {
    let rows: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let rows = Tensor::from_data(TensorData::new(rows, [ids.len()]), &decoder.device());
    decoder.token_embedding().select(0, rows)
}

impl Proposer for Secant {
    fn name(&self) -> &'static str {
        "secant"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Vec<u32>>, InvertError> {
        if !open.tested.is_empty() {
            return Ok(None);
        }
        self.memory.belong_to(open.decoder);
        self.memory.settle(open.target, open.prefix);
        let mut memory = std::mem::take(&mut self.memory);
        let draft = memory.recall(open, |points| self.nearest(open.decoder, points));
        self.memory = memory;
        draft
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let here = (place.target.id(), place.position());
        if self.here != Some(here) {
            self.here = Some(here);
            self.proposed = 0;
        }
        self.memory.belong_to(place.decoder);
        self.memory.take_in(place);
        // States of a first token often differ little from one another and not at all along a line: little is expected there.
        let limit = if place.position() == 0 { self.limit.min(FIRST) } else { self.limit };
        if self.proposed >= limit || (place.tested.len() < ENOUGH && place.position() > 0) {
            return Ok(Vec::new());
        }
        let vocab_size = place.vocab_size();
        let untested = |id: &u32| !place.tested.contains(*id);
        let proposed: Vec<u32> = if place.tested.len() < 2 {
            spread(vocab_size as u32).take(ROUND.min(vocab_size)).filter(untested).collect()
        } else {
            let guess = self.guess(place)?;
            let embedding = place.decoder.token_embedding();
            let point = TensorData::new(guess.clone(), [1, guess.len()]).convert_dtype(embedding.dtype());
            let point = Tensor::<2>::from_data(point, (&embedding.device(), embedding.dtype()));
            let scores = read(self.nearness(place.decoder, point))?;
            let count = (ROUND + place.tested.len()).min(vocab_size);
            most_likely(&scores, count).into_iter().filter(untested).take(ROUND).collect()
        };
        self.proposed += proposed.len();
        Ok(proposed)
    }
}
