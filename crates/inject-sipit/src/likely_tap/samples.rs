//! The states of a few hundred tokens at every tap, with which a state is compared.

use burn::tensor::Tensor;

use super::{LikelyTap, normal::Normal};
use crate::{
    collisions::{distance, norm},
    error::InvertError,
    median::median,
    models::{Decoder, Logits, Tap, TokenBatch},
    noise::spread,
    tensors::read,
    transformation::Transformation,
    tuning::{TAP_NEXT_TO, TAP_SAMPLE},
};

/// The states of some tokens after others, at every tap.
pub(super) struct Samples {
    /// At each tap `[token, position, d_model]`. The last position is that of the token.
    states: Vec<(Tap, Tensor<3>)>,
    /// Whether the first token is one that prompts begin with, which is not typical of the others.
    begins: bool,
}

impl Samples {
    pub(super) fn compute(
        decoder: &Decoder,
        given: &[u32],
        begins: Option<u32>,
    ) -> Result<Self, InvertError> {
        let vocab_size = decoder.config().vocab_size as u32;
        let tokens = begins.into_iter().chain(spread(vocab_size).take(TAP_SAMPLE));
        let prompts: Vec<Vec<u32>> = tokens.map(|token| [given, &[token]].concat()).collect();
        let taps = Tap::all(decoder.config().n_layers());
        let mut forward = decoder.forward(&TokenBatch::new(&prompts)?, &taps, Logits::None)?;
        let states = taps.into_iter().filter_map(|tap| Some((tap, forward.states.remove(&tap)?)));
        Ok(Samples { states: states.collect(), begins: begins.is_some() })
    }

    /// The tap with the sample nearest to a state, and its distance as a share of the length of the state. Both are changed as the producer
    /// changed the state.
    pub(super) fn nearest(
        &self,
        state: &[f64],
        change: &Transformation,
    ) -> Result<Option<(Tap, f64)>, InvertError> {
        let state = &change.changed(state, state.len())[..];
        let length = norm(state).max(f64::MIN_POSITIVE);
        let mut nearest: Option<(Tap, f64)> = None;
        for (tap, states) in &self.states {
            let last = states.dims()[1] - 1;
            let mut states = read(states.clone().narrow(1, last, 1))?;
            change.apply(&mut states, state.len());
            let shares = states.chunks(state.len()).map(|sample| distance(sample, state) / length);
            let share = shares.fold(f64::INFINITY, f64::min);
            if nearest.is_none_or(|(_, least)| share < least) {
                nearest = Some((*tap, share));
            }
        }
        Ok(nearest)
    }

    /// The taps, the likeliest for a state first. The samples are changed as the producer changed the state.
    pub(super) fn ranked(
        &self,
        state: &[f64],
        change: &Transformation,
    ) -> Result<Vec<LikelyTap>, InvertError> {
        let mut ranked = Vec::with_capacity(self.states.len());
        for (tap, states) in &self.states {
            let last = states.dims()[1] - 1;
            let mut states = read(states.clone().narrow(1, last, 1))?;
            change.apply(&mut states, state.len());
            let samples: Vec<&[f64]> = states.chunks(state.len()).collect();
            let mut distances: Vec<f64> = samples.iter().map(|sample| distance(sample, state)).collect();
            let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let typical = median(&mut distances).max(f64::MIN_POSITIVE);
            let others = &samples[usize::from(self.begins)..];
            let log_likelihood =
                Normal::of(others).map_or(f64::NEG_INFINITY, |normal| normal.log_likelihood(state));
            ranked.push(LikelyTap { tap: *tap, nearest: nearest / typical, log_likelihood });
        }
        let likelier = |a: &LikelyTap, b: &LikelyTap| b.log_likelihood.total_cmp(&a.log_likelihood);
        ranked.sort_by(|a, b| order(a).total_cmp(&order(b)).then(likelier(a, b)));
        Ok(ranked)
    }
}

/// A state next to a sample comes before all others, the nearest first.
fn order(tap: &LikelyTap) -> f64 {
    if tap.nearest < TAP_NEXT_TO { tap.nearest } else { TAP_NEXT_TO }
}
