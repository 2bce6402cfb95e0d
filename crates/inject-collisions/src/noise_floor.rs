//! How far apart computations of the same state lie.

use std::collections::BTreeMap;

use inject_states::{Decoder, ExtractError, Extraction, Logits, Tap, TokenBatch, store::Positions, to_host};

use crate::Metric;

/// The largest distances seen at one tap between a prompt's state, computed alone by one forward pass, and the same state
/// computed in another way.
///
/// # Units
///
/// Those of the metric it was measured in. Zero means bitwise equal, for L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NoiseFloor {
    /// In a batch with other prompts.
    pub batched: f64,
    /// As one of many candidates behind a cached prefix.
    pub cached: Option<f64>,
    /// On another device.
    pub other_device: Option<f64>,
}

impl NoiseFloor {
    /// The largest of all: the noise floor of the tap.
    pub fn largest(&self) -> f64 {
        [self.cached, self.other_device].into_iter().flatten().fold(self.batched, f64::max)
    }
}

/// Candidates beside the one that is compared.
const OTHERS: usize = 63;

/// Measures the noise floor of each tap on up to `sample` prompts, spread evenly over those given, at their last positions.
/// A floor beside which distances of a study are to stand is measured in the study's metric.
///
/// `other` is the same model on another device, if there is one.
///
/// # Errors
///
/// [`ExtractError`]: what the decoder refuses, or a state that is not finite.
pub fn measure_noise_floors(
    metric: Metric,
    decoder: &Decoder,
    other: Option<&Decoder>,
    taps: &[Tap],
    prompts: &[Vec<u32>],
    sample: usize,
) -> Result<BTreeMap<Tap, NoiseFloor>, ExtractError> {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let step = prompts.len().div_ceil(sample.max(1)).max(1);
    let sampled: Vec<Vec<u32>> = prompts.iter().step_by(step).cloned().collect();
    let together = extraction.run(decoder, &sampled, &mut |_| ())?;
    let mut floors: BTreeMap<Tap, NoiseFloor> =
        extraction.taps().iter().map(|&tap| (tap, NoiseFloor::default())).collect();
    for (row, prompt) in sampled.iter().enumerate() {
        let alone = extraction.run(decoder, std::slice::from_ref(prompt), &mut |_| ())?;
        let elsewhere = other
            .map(|other| extraction.run(other, std::slice::from_ref(prompt), &mut |_| ()))
            .transpose()?;
        let cached = last_state_as_candidate(decoder, extraction.taps(), prompt)?;
        for (tap, floor) in &mut floors {
            let alone = alone[tap].as_slice().expect("states lie row by row");
            let from_alone = |state: &[f32]| metric.distance(alone, state);
            let beside = together[tap].row(row);
            floor.batched = floor.batched.max(from_alone(beside.as_slice().expect("states lie row by row")));
            floor.cached = Some(floor.cached.unwrap_or(0.0).max(from_alone(&cached[tap])));
            if let Some(elsewhere) = &elsewhere {
                let elsewhere = elsewhere[tap].as_slice().expect("states lie row by row");
                floor.other_device = Some(floor.other_device.unwrap_or(0.0).max(from_alone(elsewhere)));
            }
        }
    }
    Ok(floors)
}

/// The last state of a prompt, computed as one of many candidates behind the cached tokens before it.
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
    let others = (0..decoder.config().vocab_size as u32).take(OTHERS);
    let candidates: Vec<u32> = std::iter::once(last).chain(others).collect();
    let states = decoder.candidates_at(&cache, &candidates, taps)?;
    states.into_iter().map(|(tap, states)| Ok((tap, to_host(states.narrow(0, 0, 1))?))).collect()
}
