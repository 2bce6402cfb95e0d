//! The secant search: where the tested candidates point to.

mod recall;

use std::collections::HashSet;

use burn::tensor::{Tensor, TensorData};
use inject_collisions::{Decoder, weighted_distance};
use nalgebra::{DMatrix, DVector};

use self::recall::Memory;
use super::{Open, Place, Proposer, most_likely};
use crate::{InvertError, indices, median::centre_and_spread, noise::spread, read, read_f32};

/// Guesses the embedding of the token looked for from the candidates tested so far, and proposes the tokens in its direction.
///
/// Around the state looked for, a token's state is roughly a linear function of its embedding. So the affine combination of
/// tested states that comes closest to the state given, applied to their embeddings, is a guess of the embedding; the tokens
/// in its direction are tested, and make the next guess better. Where the neighbourhood says little, and at the first position,
/// tokens from all over the vocabulary are tested first. It needs no calibration: the model, the prefix and the depth are
/// whatever they are.
///
/// With `x_i` the difference of a tested state and the one given, `G` their products and `w_i` weights that fall with distance,
/// the combination is `z / sum(z)` with `(G + lambda / w) z = 1`: ridge regression's intercept at the state given.
///
/// What was tested at earlier positions is remembered: one linear map from states to embeddings, fitted to all of it, drafts the
/// positions to come. [`Secant::surveying`] makes it good from the beginning.
#[derive(Clone, Debug)]
pub struct Secant {
    limit: usize,
    survey: usize,
    /// The position at hand, and how many candidates were proposed there.
    here: Option<(u64, usize)>,
    proposed: usize,
    /// How many tokens were sampled there beside.
    sampled: usize,
    /// Whether this is where the survey is made.
    surveying: bool,
    memory: Memory,
    /// The same for every guess.
    directions: Option<Directions>,
}

/// Candidates a round.
const ROUND: usize = 64;

/// Candidates that must be tested before they can point anywhere; until then it is other sources' turn.
const ENOUGH: usize = 64;

/// Candidates at a position, but the first, after which its neighbourhood has said what it can.
const NEARBY: usize = 192;

/// Tokens from all over the vocabulary tested where the neighbourhood says little. Behind one prefix a state is a smooth function of
/// its token's embedding, and from so many pairs the embedding can be guessed nearly exactly.
const SAMPLED: usize = 384;

/// From which tested candidates a guess is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// Those around the state looked for, the nearest most.
    Nearby,
    /// A sample of the vocabulary, all alike.
    Everywhere,
}

impl Basis {
    /// Tested candidates used, the nearest first.
    fn most(self) -> usize {
        match self {
            Basis::Nearby => 256,
            Basis::Everywhere => 768,
        }
    }
}

/// Ridge, as a share of the mean square of the tested states' distances.
const RIDGE: f64 = 1e-2;

impl Secant {
    /// Up to `limit` candidates at a position.
    pub fn up_to(limit: usize) -> Self {
        Secant {
            limit,
            survey: 0,
            here: None,
            proposed: 0,
            sampled: 0,
            surveying: false,
            memory: Memory::default(),
            directions: None,
        }
    }

    /// The same, which tests so many tokens from all over the vocabulary, beyond the limit, where it is first asked behind the first
    /// position: a sixteenth of the vocabulary at most. They cost what a few dozen forward passes of a prompt cost, once for all prompts of a
    /// model at a tap; and what they tell of the map from states to embeddings drafts most other positions.
    pub fn surveying(self, tokens: usize) -> Self {
        Secant { survey: tokens, ..self }
    }

    /// How many tokens from all over the vocabulary are worth testing here; of a small one a share, as more would be half a scan.
    fn enough_sampled(&self, place: &Place<'_>) -> usize {
        let wanted = if self.surveying { self.survey } else { SAMPLED };
        wanted.min(place.vocab_size() / 16).max(2)
    }

    /// Untested tokens from all over the vocabulary, more of the low ids: tokenizers number their tokens in the order in which they
    /// were merged or by probability, so these are the common ones.
    fn sample(&self, place: &Place<'_>) -> Vec<u32> {
        let vocab_size = place.vocab_size();
        let common_first = |id: u32| (u64::from(id) * u64::from(id) / vocab_size as u64) as u32;
        let mut once = HashSet::new();
        let all = spread(vocab_size as u32).take(vocab_size).map(common_first);
        let untested = all.filter(|id| !place.tested.contains(*id) && once.insert(*id));
        untested.take(self.enough_sampled(place)).collect()
    }

    /// Begins a position.
    fn arrive(&mut self, place: &Place<'_>) {
        let here = (place.target.id(), place.position());
        if self.here != Some(here) {
            self.here = Some(here);
            (self.proposed, self.sampled) = (0, 0);
            // Too few tokens would make no map.
            let worthwhile = self.survey.min(place.vocab_size() / 16) >= recall::FEWEST;
            self.surveying = worthwhile && place.position() > 0 && self.memory.begin_survey();
        }
    }

    /// The untested tokens to which the tested ones point.
    fn pointed_to(&mut self, place: &Place<'_>, basis: Basis) -> Result<Vec<u32>, InvertError> {
        let guess = self.guess(place, basis)?;
        let embedding = place.decoder.token_embedding();
        let data = TensorData::new(guess.clone(), [1, guess.len()]).convert_dtype(embedding.dtype());
        let point = Tensor::from_data(data, (&embedding.device(), embedding.dtype()));
        self.nearest_untested(place, point, ROUND)
    }

    /// The untested tokens that earlier positions make expect here; once only, and none before enough was seen.
    fn remembered(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        /// Tokens the map is trusted for.
        const FEW: usize = 16;
        match self.memory.expected_at(place) {
            Some(point) if self.proposed == 0 => self.nearest_untested(place, point, FEW),
            _ => Ok(Vec::new()),
        }
    }

    fn nearest_untested(
        &mut self,
        place: &Place<'_>,
        point: Tensor<2>,
        count: usize,
    ) -> Result<Vec<u32>, InvertError> {
        let scores = read(self.nearness(place.decoder, point))?;
        let likely = most_likely(&scores, (count + place.tested.len()).min(place.vocab_size()));
        Ok(likely.into_iter().filter(|&id| !place.tested.contains(id)).take(count).collect())
    }

    /// The guessed embedding.
    fn guess(&self, place: &Place<'_>, basis: Basis) -> Result<Vec<f64>, InvertError> {
        let wanted = place.target.state(place.position());
        // At an attention sink, as the first position is in most models, a few coordinates are a thousand times the others and say
        // little about the token, so each counts in units of its own spread. Around one state plain distances point better.
        let weights: Vec<f64> = match basis {
            Basis::Everywhere => by_spread(place.tested.sample(), wanted.len()),
            Basis::Nearby => vec![1.0; wanted.len()],
        };
        let mut near: Vec<(f64, &(u32, Vec<f64>))> = place
            .tested
            .sample()
            .iter()
            .map(|tested| (weighted_distance(&tested.1, wanted, &weights), tested))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(basis.most());
        let (n, d) = (near.len(), wanted.len());
        let differences = DMatrix::from_fn(d, n, |i, j| (near[j].1.1[i] - wanted[i]) * weights[i]);
        let mut products = differences.transpose() * &differences;
        let nearest = near[0].0.max(f64::MIN_POSITIVE);
        let scale = RIDGE * products.trace() / n as f64;
        for (i, (away, _)) in near.iter().enumerate() {
            let mistrust = match basis {
                Basis::Everywhere => 1.0,
                Basis::Nearby => (away / nearest).powi(2),
            };
            products[(i, i)] += scale * mistrust + f64::MIN_POSITIVE;
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

    /// How nearly each token's embedding lies in the direction of each point, both seen from the mean embedding: the cosine, but
    /// for a factor that is the same for all tokens. From `[points, d_model]` to `[vocab_size, points]`.
    ///
    /// A guess by ridge regression is too short, the more so the less is known. By distance the shortest embeddings would be
    /// nearest to it, whatever its direction.
    fn nearness(&mut self, decoder: &Decoder, points: Tensor<2>) -> Tensor<2> {
        let embedding = decoder.token_embedding();
        // Those of another model of the same shape would only make worse guesses.
        let [vocab_size, d_model] = embedding.dims();
        self.directions
            .take_if(|known| (known.lengths.dims()[0], known.mean.dims()[1]) != (vocab_size, d_model));
        let Directions { mean, lengths } =
            self.directions.get_or_insert_with(|| Directions::of(embedding.clone())).clone();
        let points = (points - mean.clone()).transpose(); // [d_model, points]
        (embedding.matmul(points.clone()) - mean.matmul(points)) / lengths
    }
}

/// What turns embeddings into directions from their mean.
#[derive(Clone, Debug)]
struct Directions {
    /// `[1, d_model]`
    mean: Tensor<2>,
    /// Distance of each embedding from the mean, `[vocab_size, 1]`.
    lengths: Tensor<2>,
}

impl Directions {
    fn of(embedding: Tensor<2>) -> Self {
        let mean = embedding.clone().mean_dim(0);
        // |e - m|^2 without another copy of all embeddings. Nearly equal ones of a token never trained may round below zero.
        let products = embedding.clone().matmul(mean.clone().transpose()); // [vocab_size, 1]
        let squares = embedding.powi_scalar(2).sum_dim(1) - products.mul_scalar(2.0)
            + mean.clone().powi_scalar(2).sum_dim(1);
        Directions { mean, lengths: squares.clamp_min(1e-12).sqrt() }
    }
}

/// What makes each coordinate count in units of its spread over some states; one that does not vary says nothing.
fn by_spread(sample: &[(u32, Vec<f64>)], d_model: usize) -> Vec<f64> {
    let spread = |i: usize| centre_and_spread(sample.iter().map(|(_, state)| state[i]).collect()).1;
    (0..d_model).map(spread).map(|spread| if spread > 0.0 { 1.0 / spread } else { 0.0 }).collect()
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
    let rows = indices(ids.iter().map(|&id| id as usize), &decoder.device());
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
        self.memory.belong_to(place.decoder);
        self.arrive(place);
        self.memory.take_in(place);
        if self.proposed >= self.limit {
            return Ok(Vec::new());
        }
        let everywhere = place.position() == 0 || self.surveying || self.proposed >= NEARBY;
        if everywhere && self.sampled < self.enough_sampled(place) {
            let sample = self.sample(place);
            self.sampled += sample.len().max(1);
            self.proposed += if self.surveying { 0 } else { sample.len() };
            return Ok(sample);
        }
        let proposed = if everywhere {
            self.pointed_to(place, Basis::Everywhere)?
        } else if place.tested.len() >= ENOUGH {
            self.pointed_to(place, Basis::Nearby)?
        } else {
            self.remembered(place)?
        };
        self.proposed += proposed.len();
        Ok(proposed)
    }
}
