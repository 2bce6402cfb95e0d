//! The noise floor: the distance between two computations of the same state.

use std::{collections::BTreeMap, num::NonZeroUsize};

use burn::tensor::Element;
use inject_states::{
    ExtractError, Extraction,
    batches::spread_evenly,
    is_noise,
    models::{Decoder, Logits, ModelError, PrefixCache, Tap, TokenBatch, host::to_host, silent},
    store::Positions,
};

use crate::{metric::Metric, tuning::NOISE_BATCH_OTHERS};

/// The largest distances seen at one tap between a prompt's state, computed alone by one forward pass, and the same state
/// computed in another way. A distance that could not be measured is `None`.
///
/// # Units
///
/// The units of the metric in which the floor was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct NoiseFloor {
    /// The distance to a state computed in a batch with other prompts. `None` if every prompt was alone in its batch, or was computed
    /// there by the same operations.
    pub batched: Option<f64>,
    /// The distance to a state computed as one of many candidates after a cached prefix. `None` if every prompt was computed there by
    /// the same operations, as prompts of one token are.
    pub cached: Option<f64>,
    /// The distance to a state computed on another device.
    pub other_device: Option<f64>,
}

impl NoiseFloor {
    /// Creates a floor for which only the noise of batching was measured.
    pub fn of_batches(batched: f64) -> Self {
        NoiseFloor { batched: Some(batched), cached: None, other_device: None }
    }

    /// Returns the largest of the three, which is the noise floor of the tap. Returns `None` if none was measured.
    pub fn largest(&self) -> Option<f64> {
        [self.batched, self.cached, self.other_device].into_iter().flatten().reduce(f64::max)
    }
}

/// Measures the noise floor of each tap on up to `sample` evenly spaced prompts, at their last positions. A floor must be measured
/// in the metric of the distances that it is compared with.
///
/// `other` is the same model on another device. A prompt whose two computations are identical is ignored: in the measurement of
/// batching, one that is alone in its batch, and everywhere one whose distances [are not noise](is_noise).
///
/// # Errors
///
/// [`ExtractError`] if the decoder refuses a prompt or a tap, or a state is not finite.
pub fn measure_noise_floors(
    metric: Metric,
    decoder: &Decoder,
    other: Option<&Decoder>,
    taps: &[Tap],
    prompts: &[Vec<u32>],
    sample: NonZeroUsize,
) -> Result<BTreeMap<Tap, NoiseFloor>, ExtractError> {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let sampled: Vec<Vec<u32>> =
        spread_evenly(prompts.len(), sample).map(|prompt| prompts[prompt].clone()).collect();
    let accompanied = extraction.accompanied(decoder, &sampled);
    let together = extraction.run(decoder, &sampled, &mut silent)?;
    let mut floors: BTreeMap<Tap, NoiseFloor> =
        extraction.taps().iter().map(|&tap| (tap, NoiseFloor::default())).collect();
    for (row, prompt) in sampled.iter().enumerate() {
        let alone = extraction.run(decoder, std::slice::from_ref(prompt), &mut silent)?;
        let elsewhere = other
            .map(|other| extraction.run(other, std::slice::from_ref(prompt), &mut silent))
            .transpose()?;
        let cached = last_state_as_candidate(decoder, extraction.taps(), prompt)?;
        for (tap, floor) in &mut floors {
            let alone = alone[tap].as_slice().expect("states are row-major");
            let raise = |floor: &mut Option<f64>, state: &[f32]| {
                let distance = metric.distance(alone, state);
                if is_noise(decoder, *tap, prompt.len(), distance) {
                    *floor = Some(floor.unwrap_or(0.0).max(distance));
                }
            };
            if accompanied[row] {
                raise(&mut floor.batched, together[tap].row(row).as_slice().expect("states are row-major"));
            }
            raise(&mut floor.cached, &cached[tap]);
            if let Some(elsewhere) = &elsewhere {
                raise(&mut floor.other_device, elsewhere[tap].as_slice().expect("states are row-major"));
            }
        }
    }
    Ok(floors)
}

/// Returns the last state of a prompt, computed as one of many candidates after the cached tokens before it.
fn last_state_as_candidate(
    decoder: &Decoder,
    taps: &[Tap],
    prompt: &[u32],
) -> Result<BTreeMap<Tap, Vec<f32>>, ExtractError> {
    let deepest = *taps.last().expect("an extraction has taps");
    let mut cache = decoder.prefix_cache(1, prompt.len(), deepest)?;
    let Some((&last, before)) = prompt.split_last() else { return Ok(BTreeMap::new()) };
    if !before.is_empty() {
        decoder.extend(&mut cache, &TokenBatch::new(&[before])?, &[], Logits::None)?;
    }
    let others = (0..decoder.config().vocab_size as u32).take(NOISE_BATCH_OTHERS);
    Ok(state_among_candidates(decoder, &cache, last, others, taps)?)
}

/// Returns the state of a token after a cached prefix at each tap, computed in one batch with other candidates. The distance to
/// the state of a forward pass is the noise of batching.
///
/// # Errors
///
/// [`ModelError`] if the decoder refuses a token or a tap.
pub fn state_among_candidates<E: Element>(
    decoder: &Decoder,
    cache: &PrefixCache,
    token: u32,
    others: impl IntoIterator<Item = u32>,
    taps: &[Tap],
) -> Result<BTreeMap<Tap, Vec<E>>, ModelError> {
    let candidates: Vec<u32> = std::iter::once(token).chain(others).collect();
    let states = decoder.candidates_at(cache, &candidates, taps)?;
    states.into_iter().map(|(tap, states)| Ok((tap, to_host(states.narrow(0, 0, 1))?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_noise_is_the_floor() {
        let floor = NoiseFloor { batched: Some(1.0), cached: Some(3.0), other_device: Some(2.0) };
        assert_eq!((floor.largest(), NoiseFloor::of_batches(0.5).largest()), (Some(3.0), Some(0.5)));
        assert_eq!(NoiseFloor::default().largest(), None);
    }
}
