//! What was tested at earlier positions, as one map from states to embeddings.

use std::collections::HashMap;

use burn::tensor::{DType, Tensor, TensorData};
use inject_collisions::models::Decoder;
use nalgebra::{Cholesky, DMatrix, Dyn};

use super::guess::embeddings;
use crate::{InvertError, Open, Place, TargetStates, read};

/// Pairs of states and tokens, and the ridge regression from the ones to the others' embeddings.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// `d_model` and `vocab_size` of the model the pairs belong to.
    model: Option<(usize, usize)>,
    /// Whether the vocabulary was surveyed behind the first position.
    surveyed: bool,
    ids: Vec<u32>,
    /// Row after row.
    states: Vec<f32>,
    /// The position whose tests were taken in last, and how many of them.
    taken: Option<(u64, usize, usize)>,
    /// The targets whose recovered tokens were taken in, and how many of each.
    settled: HashMap<u64, usize>,
    fit: Option<Fit>,
    expected: Option<Expected>,
    /// How long the next draft is, and where the last one began.
    reach: usize,
    begun: Option<(u64, usize)>,
}

/// What the map fitted to so many pairs says of all positions of a target.
#[derive(Clone, Debug)]
struct Expected {
    target: u64,
    pairs: usize,
    /// The embeddings expected, `[positions, d_model]`.
    points: Tensor<2>,
    /// The tokens nearest to them.
    ids: Vec<u32>,
}

/// The regression on the first pairs.
#[derive(Clone, Debug)]
struct Fit {
    pairs: usize,
    mean: Tensor<2>,
    deviation: Tensor<2>,
    /// Standardised states, `[pairs, d_model]`.
    states: Tensor<2>,
    normal: Cholesky<f64, Dyn>,
    /// The mean of the tokens' embeddings, and what they differ from it by, `[pairs, d_model]`.
    mean_embedding: Tensor<2>,
    embeddings: Tensor<2>,
}

/// Pairs from which a map is worth its product with the vocabulary.
pub(super) const FEWEST: usize = 384;

/// Pairs kept.
const MOST: usize = 4096;

/// Added to the diagonal of the normal equations, whose features have variance one.
const RIDGE: f64 = 4.0;

/// The shortest and the longest draft.
const REACH: (usize, usize) = (4, 128);

impl Memory {
    /// Forgets what was learnt from a model of another shape.
    pub(super) fn belong_to(&mut self, decoder: &Decoder) {
        let model = Some((decoder.config().d_model, decoder.config().vocab_size));
        if self.model != model {
            *self = Memory { model, ..Memory::default() };
        }
    }

    /// Whether the vocabulary is yet to be surveyed. Then what was tested before is forgotten: first positions, as attention sinks, are of
    /// another kind.
    pub(super) fn begin_survey(&mut self) -> bool {
        if self.surveyed {
            return false;
        }
        *self = Memory { model: self.model, surveyed: true, ..Memory::default() };
        true
    }

    /// Takes in what was tested at a position since the last call.
    pub(super) fn take_in(&mut self, place: &Place<'_>) {
        let (target, position) = (place.target.id(), place.position());
        let known = match self.taken {
            Some((t, p, known)) if (t, p) == (target, position) => known,
            _ => 0,
        };
        for (id, state) in place.tested.sample().iter().skip(known) {
            self.push(*id, state);
        }
        self.taken = Some((target, position, place.tested.sample().len()));
    }

    /// Takes in the tokens recovered since the last call, with the states given: the best pairs there are.
    pub(super) fn settle(&mut self, target: &TargetStates, prefix: &[u32]) {
        if self.ids.len() >= MOST {
            return;
        }
        let known = self.settled.insert(target.id(), prefix.len()).filter(|&known| known <= prefix.len());
        let known = known.unwrap_or(0);
        for (position, &id) in prefix.iter().enumerate().skip(known) {
            self.push(id, target.state(position));
        }
    }

    fn push(&mut self, id: u32, state: &[f64]) {
        if self.ids.len() < MOST {
            self.ids.push(id);
            self.states.extend(state.iter().map(|&value| value as f32));
        }
    }

    /// The tokens expected at the next open positions; none before enough was tested.
    pub(super) fn recall(&mut self, open: &Open<'_>) -> Result<Option<Vec<u32>>, InvertError> {
        if self.ids.len() < FEWEST {
            return Ok(None);
        }
        self.adapt(open);
        let stale = self.fit.as_ref().is_none_or(|fit| self.ids.len() >= 4 * fit.pairs);
        if stale && !self.refit(open)? {
            return Ok(None);
        }
        let Some(fit) = &self.fit else { return Ok(None) };
        let (target, pairs) = (open.target.id(), fit.pairs);
        if self.expected.as_ref().is_none_or(|known| (known.target, known.pairs) != (target, pairs)) {
            let points = fit.expected(open)?;
            let ids = open.vocabulary.nearest(points.clone())?;
            self.expected = Some(Expected { target, pairs, ids, points });
        }
        let begin = open.prefix.len();
        let end = open.target.positions().min(begin + self.reach);
        Ok(self.expected.as_ref().map(|known| known.ids[begin..end].to_vec()))
    }

    /// The embedding expected at one position, `[1, d_model]`, if the last draft was of this target.
    pub(super) fn expected_at(&self, place: &Place<'_>) -> Option<Tensor<2>> {
        let known = self.expected.as_ref().filter(|known| known.target == place.target.id())?;
        Some(known.points.clone().narrow(0, place.position(), 1))
    }

    /// What the map makes of a difference of two states, if there is a map: a difference of two embeddings.
    pub(super) fn difference(
        &self,
        decoder: &Decoder,
        states: &[f64],
    ) -> Result<Option<Vec<f64>>, InvertError> {
        let Some(fit) = &self.fit else { return Ok(None) };
        let states: Vec<f32> = states.iter().map(|&value| value as f32).collect();
        let states =
            Tensor::<2>::from_data(TensorData::new(states, [1, fit.mean.dims()[1]]), &decoder.device());
        read(fit.differences(states / fit.deviation.clone())?).map(Some)
    }

    /// Drafts grow while they hold, and shrink where they do not.
    fn adapt(&mut self, open: &Open<'_>) {
        let begin = open.prefix.len();
        self.reach = match self.begun {
            Some((target, last)) if target == open.target.id() && last <= begin => {
                (2 * (begin - last)).clamp(REACH.0, REACH.1)
            }
            _ => REACH.0.max(self.reach),
        };
        self.begun = Some((open.target.id(), begin));
    }

    fn refit(&mut self, open: &Open<'_>) -> Result<bool, InvertError> {
        let d = open.target.d_model();
        let pairs = self.ids.len();
        let data = TensorData::new(self.states.clone(), [pairs, d]);
        let states = Tensor::<2>::from_data(data, &open.decoder.device());
        let mean = states.clone().mean_dim(0);
        let deviation = (states.clone() - mean.clone()).powi_scalar(2).mean_dim(0).sqrt() + 1e-6;
        let states = (states - mean.clone()) / deviation.clone();
        let products = read(states.clone().transpose().matmul(states.clone()))?;
        let mut normal = DMatrix::from_row_slice(d, d, &products);
        (0..d).for_each(|i| normal[(i, i)] += RIDGE);
        let embeddings = embeddings(open.decoder, &self.ids).cast(DType::F32);
        let mean_embedding = embeddings.clone().mean_dim(0);
        let embeddings = embeddings - mean_embedding.clone();
        self.fit = normal.cholesky().map(|normal| Fit {
            pairs,
            mean,
            deviation,
            states,
            normal,
            mean_embedding,
            embeddings,
        });
        Ok(self.fit.is_some())
    }
}

impl Fit {
    /// The embeddings expected at all positions, `[positions, d_model]`.
    fn expected(&self, open: &Open<'_>) -> Result<Tensor<2>, InvertError> {
        let device = open.decoder.device();
        let (positions, d) = (open.target.positions(), open.target.d_model());
        let states: Vec<f32> =
            (0..positions).flat_map(|p| open.target.state(p).iter().map(|&v| v as f32)).collect();
        let wanted = Tensor::<2>::from_data(TensorData::new(states, [positions, d]), &device);
        let wanted = (wanted - self.mean.clone()) / self.deviation.clone();
        let guess = self.differences(wanted)? + self.mean_embedding.clone();
        Ok(guess.cast(open.decoder.dtype()))
    }

    /// What the embeddings of standardised states differ from the mean embedding by.
    fn differences(&self, states: Tensor<2>) -> Result<Tensor<2>, InvertError> {
        let ([positions, d], device) = (states.dims(), states.device());
        // y = (X'X + ridge)^-1 h for each position, then X y weighs the embeddings of the pairs.
        let columns = DMatrix::from_column_slice(d, positions, &read(states)?);
        let solved: Vec<f32> = self.normal.solve(&columns).iter().map(|&value| value as f32).collect();
        let solved = Tensor::<2>::from_data(TensorData::new(solved, [positions, d]), &device);
        let weights = solved.matmul(self.states.clone().transpose()); // [positions, pairs]
        Ok(weights.matmul(self.embeddings.clone()))
    }
}
