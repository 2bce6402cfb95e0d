//! The direction of an embedding by the gradients at tested candidates.

use crate::{
    error::InvertError,
    models::PrefixCache,
    sources::{OpenPosition, combination::by_spread},
    tuning::PULLED_BACK,
};
use burn::tensor::{Tensor, TensorData};

/// The sum of the gradients at the tested candidates after one prefix.
#[derive(Debug, Default)]
pub(super) struct PulledBack {
    prefix: Vec<u32>,
    /// The number of candidates whose gradients were taken.
    taken: usize,
    sum: Vec<f64>,
}

impl PulledBack {
    /// Returns whether there are tested candidates whose gradients were not taken. Without the feature `gradient` there are none.
    pub(super) fn has_more(&self, at: &OpenPosition<'_>) -> bool {
        let taken = if self.prefix == at.prefix { self.taken } else { 0 };
        cfg!(feature = "gradient") && taken < at.tested.sample().len()
    }

    /// Takes the gradients at a few more candidates, and returns the direction of their sum, `[1, d_model]`.
    ///
    /// Averaged over unrelated tokens, the Jacobian is the part of the map from embeddings to states that is linear. Its transpose takes
    /// the given state, seen from the mean state, to the embedding of the right token and to noise in all directions. One gradient
    /// holds as much information as the states of hundreds of candidates, because it has a number for each direction of the embedding.
    pub(super) fn direction(
        &mut self,
        at: &OpenPosition<'_>,
        cache: &PrefixCache,
    ) -> Result<Tensor<2>, InvertError> {
        if self.prefix != at.prefix {
            *self = PulledBack { prefix: at.prefix.to_vec(), ..PulledBack::default() };
        }
        let (decoder, sample, wanted) = (at.decoder(), at.tested.sample(), at.wanted());
        let d_model = wanted.len();
        let mut mean = vec![0.0; d_model];
        for (_, state) in sample {
            mean.iter_mut().zip(state).for_each(|(mean, value)| *mean += value / sample.len() as f64);
        }
        // Each coordinate is measured in units of its own spread, in the given state and in those of the candidates.
        let weights = by_spread(sample, d_model);
        let covector: Vec<f64> = wanted
            .iter()
            .zip(&mean)
            .zip(&weights)
            .map(|((wanted, mean), weight)| (wanted - mean) * weight * weight)
            .collect();
        let end = sample.len().min(self.taken + PULLED_BACK);
        let ids: Vec<u32> = sample[self.taken..end].iter().map(|(id, _)| *id).collect();
        self.taken = end;
        let tensor = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [1, d_model]).convert_dtype(decoder.dtype());
            Tensor::<2>::from_data(data, (&decoder.device(), decoder.dtype()))
        };
        let gradients = gradients(at, cache, &ids, tensor(&scaled(covector)))?;
        self.sum.resize(d_model, 0.0);
        for gradient in gradients.chunks(d_model) {
            // Where the map is steep, a gradient holds no more information than elsewhere.
            let gradient = scaled(gradient.to_vec());
            self.sum.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += slope);
        }
        Ok(tensor(&self.sum))
    }
}

#[cfg(feature = "gradient")]
fn gradients(
    at: &OpenPosition<'_>,
    cache: &PrefixCache,
    ids: &[u32],
    covector: Tensor<2>,
) -> Result<Vec<f64>, InvertError> {
    crate::tensors::read(at.decoder().pulled_back(cache, ids, at.tap(), covector)?)
}

#[cfg(not(feature = "gradient"))]
fn gradients(
    _: &OpenPosition<'_>,
    _: &PrefixCache,
    _: &[u32],
    _: Tensor<2>,
) -> Result<Vec<f64>, InvertError> {
    Ok(Vec::new())
}

/// Returns a vector in units of its length. One without a length, or with one that is not finite, becomes zero.
fn scaled(mut vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    let unit = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    vector.iter_mut().for_each(|value| *value = if unit > 0.0 { *value * unit } else { 0.0 });
    vector
}
