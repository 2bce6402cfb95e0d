//! A ridge regression from states to embeddings.

use crate::{
    error::InvertError,
    models::Decoder,
    sources::{OpenPosition, secant::guess::embeddings},
    tensors::read,
    tuning::SECANT_RIDGE,
};
use burn::tensor::{DType, Tensor, TensorData};
use nalgebra::{Cholesky, DMatrix, Dyn};

/// The regression on the first pairs of a memory.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    pairs: usize,
    mean: Tensor<2>,
    deviation: Tensor<2>,
    /// The standardised states, `[pairs, d_model]`.
    states: Tensor<2>,
    normal: Cholesky<f64, Dyn>,
    mean_embedding: Tensor<2>,
    /// The tokens' embeddings minus their mean, `[pairs, d_model]`.
    embeddings: Tensor<2>,
}

impl Fit {
    /// Fits the regression to tokens and their states, `[pairs, d_model]` row-major. Returns `None` if the states do not
    /// determine it.
    pub(crate) fn of(decoder: &Decoder, ids: &[u32], states: &[f32]) -> Result<Option<Self>, InvertError> {
        let (pairs, d) = (ids.len(), decoder.config().d_model);
        let data = TensorData::new(states.to_vec(), [pairs, d]);
        let states = Tensor::<2>::from_data(data, &decoder.device());
        let mean = states.clone().mean_dim(0);
        let deviation = (states.clone() - mean.clone()).powi_scalar(2).mean_dim(0).sqrt() + 1e-6;
        let states = (states - mean.clone()) / deviation.clone();
        let products = read(states.clone().transpose().matmul(states.clone()))?;
        let mut normal = DMatrix::from_row_slice(d, d, &products);
        (0..d).for_each(|i| normal[(i, i)] += SECANT_RIDGE);
        let embeddings = embeddings(decoder, ids).cast(DType::F32);
        let mean_embedding = embeddings.clone().mean_dim(0);
        let embeddings = embeddings - mean_embedding.clone();
        Ok(normal.cholesky().map(|normal| Fit {
            pairs,
            mean,
            deviation,
            states,
            normal,
            mean_embedding,
            embeddings,
        }))
    }

    /// Returns the number of pairs to which the regression was fitted.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Returns the embeddings predicted at all positions of a prompt, `[positions, d_model]`.
    pub(super) fn predicted(&self, at: &OpenPosition<'_>) -> Result<Tensor<2>, InvertError> {
        let target = at.target();
        let states = (0..target.positions()).flat_map(|p| target.state(p).iter().map(|&v| v as f32));
        self.points(at.decoder(), states.collect())
    }

    /// Returns the embeddings predicted from states, both `[states, d_model]`, row-major.
    pub(crate) fn points(&self, decoder: &Decoder, states: Vec<f32>) -> Result<Tensor<2>, InvertError> {
        let d = self.mean.dims()[1];
        let shape = [states.len() / d, d];
        let wanted = Tensor::<2>::from_data(TensorData::new(states, shape), &decoder.device());
        let wanted = (wanted - self.mean.clone()) / self.deviation.clone();
        let guess = self.differences(wanted)? + self.mean_embedding.clone();
        Ok(guess.cast(decoder.dtype()))
    }

    /// Maps one difference of states to a difference of embeddings.
    pub(super) fn difference(&self, decoder: &Decoder, states: &[f64]) -> Result<Vec<f64>, InvertError> {
        let states: Vec<f32> = states.iter().map(|&value| value as f32).collect();
        let data = TensorData::new(states, [1, self.mean.dims()[1]]);
        let states = Tensor::<2>::from_data(data, &decoder.device());
        read(self.differences(states / self.deviation.clone())?)
    }

    /// Returns the differences of embeddings from their mean, for standardised states: both `[positions, d_model]`.
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
