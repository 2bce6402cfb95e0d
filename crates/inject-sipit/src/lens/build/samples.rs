//! The positions of the text to which lenses are fitted.

use burn::tensor::{Device, Tensor};
use ndarray::Array2;

use crate::{
    error::InvertError,
    lens::fit::{Fitted, Samples, gather, projected},
    tuning::PROJECTED_TOGETHER,
};

/// A position of the text that is not the first of its prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The row among all states of the text. The previous position is the previous row.
    pub(super) row: usize,
    pub(super) token: u32,
}

/// Returns every position of the text that is not the first of its prompt.
pub(super) fn of_text(text: &[Vec<u32>]) -> Vec<Sample> {
    let mut begin = 0;
    let mut samples = Vec::new();
    for prompt in text {
        let of_prompt = prompt.iter().enumerate().skip(1);
        samples.extend(of_prompt.map(|(position, &token)| Sample { row: begin + position, token }));
        begin += prompt.len();
    }
    samples
}

/// Divides the samples: the last tenth is held out.
pub(super) fn fitted_on_and_held_out(samples: &[Sample]) -> (&[Sample], &[Sample]) {
    samples.split_at(samples.len() - samples.len() / 10)
}

/// Returns the distinct tokens of the samples, in ascending order.
pub(super) fn distinct(samples: &[Sample]) -> Vec<u32> {
    let mut tokens: Vec<u32> = samples.iter().map(|sample| sample.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Returns the samples of one tap as tensors.
pub(super) fn gathered(
    states: &Array2<f32>,
    final_states: &Array2<f32>,
    samples: &[Sample],
    distinct: &[u32],
    device: &Device,
) -> Samples {
    let place = |sample: &Sample| distinct.partition_point(|&token| token < sample.token);
    Samples {
        states: gather(states, samples.iter().map(|sample| sample.row), device),
        before: gather(states, samples.iter().map(|sample| sample.row - 1), device),
        tokens: samples.iter().map(place).collect(),
        final_before: gather(final_states, samples.iter().map(|sample| sample.row - 1), device),
    }
}

/// Returns the points of the samples under the fitted maps, `[samples, rank]` row-major.
pub(super) fn places(
    fitted: &Fitted,
    states: &Array2<f32>,
    samples: &[Sample],
    device: &Device,
) -> Result<Vec<f32>, InvertError> {
    let mut places = Vec::new();
    for samples in samples.chunks(PROJECTED_TOGETHER) {
        let here = gather(states, samples.iter().map(|sample| sample.row), device);
        let before = gather(states, samples.iter().map(|sample| sample.row - 1), device);
        places.extend(projected(Tensor::cat(vec![here, before], 1), &fitted.projection, &fitted.offset)?);
    }
    Ok(places)
}
