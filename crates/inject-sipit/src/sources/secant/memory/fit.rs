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
    normal: Normal,
    mean_embedding: Tensor<2>,
    /// The tokens' embeddings minus their mean, `[pairs, d_model]`.
    embeddings: Tensor<2>,
}

/// The normal equations, factored in the smaller of their two forms.
#[derive(Clone, Debug)]
enum Normal {
    /// `X'X + ridge`, for the states `X`.
    OfCoordinates(Cholesky<f64, Dyn>),
    /// `XX' + ridge`. Fewer pairs than coordinates are common in wide models, where the other form takes minutes.
    OfPairs(Cholesky<f64, Dyn>),
}

impl Normal {
    /// Returns `None` if the states do not determine the regression.
    fn of(states: &Tensor<2>) -> Result<Option<Self>, InvertError> {
        let [pairs, d] = states.dims();
        let (products, side) = match pairs < d {
            true => (states.clone().matmul(states.clone().transpose()), pairs),
            false => (states.clone().transpose().matmul(states.clone()), d),
        };
        let mut products = DMatrix::from_row_slice(side, side, &read(products)?);
        (0..side).for_each(|i| products[(i, i)] += SECANT_RIDGE);
        let wrap = if pairs < d { Normal::OfPairs } else { Normal::OfCoordinates };
        Ok(products.cholesky().map(wrap))
    }
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
        let normal = Normal::of(&states)?;
        let embeddings = embeddings(decoder, ids).cast(DType::F32);
        let mean_embedding = embeddings.clone().mean_dim(0);
        let embeddings = embeddings - mean_embedding.clone();
        Ok(normal.map(|normal| Fit { pairs, mean, deviation, states, normal, mean_embedding, embeddings }))
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
        let ([positions, _], device) = (states.dims(), states.device());
        let solve = |normal: &Cholesky<f64, Dyn>, rows: Tensor<2>| {
            let [_, width] = rows.dims();
            let columns = DMatrix::from_column_slice(width, positions, &read(rows)?);
            let solved: Vec<f32> = normal.solve(&columns).iter().map(|&value| value as f32).collect();
            let data = TensorData::new(solved, [positions, width]);
            Ok::<_, InvertError>(Tensor::<2>::from_data(data, &device))
        };
        let to_pairs = |rows: Tensor<2>| rows.matmul(self.states.clone().transpose()); // [positions, pairs]
        // The weights of the pairs' embeddings, X (X'X + ridge)^-1 h = (XX' + ridge)^-1 X h for each position.
        let weights = match &self.normal {
            Normal::OfCoordinates(normal) => to_pairs(solve(normal, states)?),
            Normal::OfPairs(normal) => solve(normal, to_pairs(states))?,
        };
        Ok(weights.matmul(self.embeddings.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::random::SplitMix;

    #[test]
    fn both_forms_of_the_normal_equations_predict_the_same() {
        for device in inject_testing::compiled() {
            let decoder = inject_testing::models::model("llama", &device).decoder;
            let d = decoder.config().d_model;
            let mut numbers = SplitMix::seeded(7);
            let mut states = |rows: usize| -> Vec<f32> {
                (0..rows * d).map(|_| numbers.below(2001) as f32 / 1e3 - 1.0).collect()
            };
            let (pairs, ids) = (states(d - 3), (0..d as u32 - 3).collect::<Vec<_>>());
            let wanted = states(5);
            let fit = Fit::of(&decoder, &ids, &pairs).unwrap().unwrap();
            assert!(matches!(fit.normal, Normal::OfPairs(_)));
            let predicted = |fit: &Fit| read(fit.points(&decoder, wanted.clone()).unwrap()).unwrap();
            let found = predicted(&fit);
            let of_coordinates = fit.states.clone().transpose().matmul(fit.states.clone());
            let mut of_coordinates = DMatrix::from_row_slice(d, d, &read(of_coordinates).unwrap());
            (0..d).for_each(|i| of_coordinates[(i, i)] += SECANT_RIDGE);
            let other = Normal::OfCoordinates(of_coordinates.cholesky().unwrap());
            let expected = predicted(&Fit { normal: other, ..fit });
            // Some hundred products in f32 on either way, and the ridge bounds the inverse.
            let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-4 * largest, "{found} {expected}");
            }
        }
    }
}
