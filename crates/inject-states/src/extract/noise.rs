//! The noise floor: the distance between two computations of the same state.

use std::{collections::BTreeMap, num::NonZeroUsize, slice};

use burn::tensor::DType;
use inject_models::{Decoder, Progress, Tap, Unit, silent};

use super::{ExtractError, Extraction};
use crate::{
    batches::{batches_by_length, spread_evenly},
    store::NoiseFloors,
};

/// The number of prompts that are computed again for the noise floors of a store.
pub(super) const NOISE_SAMPLE: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// Computes a sample of the prompts together and again each alone. Returns the largest L2 distance between the two at each
/// tap.
///
/// The sample is at most `sample` prompts, spread evenly over all. A prompt that is computed twice in the same way says nothing, so
/// it does not count: one that is alone in its batch, and one whose distances [are not noise](is_noise). If no prompt counts, the
/// floors are `None`. `progress` is called before each prompt.
///
/// # Errors
///
/// As [`Extraction::run`].
pub fn measure_noise(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    sample: usize,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<NoiseFloors, ExtractError> {
    let sampled = NonZeroUsize::new(sample).map_or_else(Vec::new, |sample| self::sample(prompts, sample));
    noise_of(extraction, decoder, &sampled, progress)
}

/// Returns at most so many of the prompts, spread evenly over all.
pub(super) fn sample(prompts: &[Vec<u32>], sample: NonZeroUsize) -> Vec<Vec<u32>> {
    spread_evenly(prompts.len(), sample).map(|prompt| prompts[prompt].clone()).collect()
}

/// As [`measure_noise`], of a sample that was taken.
pub(super) fn noise_of(
    extraction: &Extraction,
    decoder: &Decoder,
    sampled: &[Vec<u32>],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<NoiseFloors, ExtractError> {
    let accompanied = extraction.accompanied(decoder, sampled);
    let mut prompts_sampled = 0;
    let mut floors: BTreeMap<Tap, Option<f64>> = extraction.taps().iter().map(|&tap| (tap, None)).collect();
    if !accompanied.contains(&true) {
        return Ok(NoiseFloors { prompts_sampled, floors });
    }
    let mut report = |done: usize| {
        progress(Progress::new("measure the noise", Unit::Prompts, done as u64, sampled.len() as u64));
    };
    report(0);
    let together = extraction.run(decoder, sampled, &mut silent)?;
    let mut first = 0;
    for (number, prompt) in sampled.iter().enumerate() {
        report(number);
        let rows = extraction.rows(slice::from_ref(prompt));
        if accompanied[number] {
            let alone = extraction.run(decoder, slice::from_ref(prompt), &mut silent)?;
            let mut counts = false;
            for (tap, alone) in alone {
                let farthest = (0..rows)
                    .map(|row| distance(alone.state(row), together[&tap].state(first + row)))
                    .fold(0.0, f64::max);
                if is_noise(decoder, tap, prompt.len(), farthest) {
                    counts = true;
                    let floor = floors.entry(tap).or_default();
                    *floor = Some(floor.map_or(farthest, |floor| floor.max(farthest)));
                }
            }
            prompts_sampled += usize::from(counts);
        }
        first += rows;
    }
    Ok(NoiseFloors { prompts_sampled, floors })
}

/// Returns whether the distance between two computations of the states of a prompt of `len` tokens at a tap is a measurement of
/// noise.
///
/// States that are equal in every bit were computed by the same operations in the same order, whatever the shapes of the batches.
/// That happens to prompts of one token, in which there is nothing to attend to, and in batches of prompts of one length. Their
/// distance of zero says nothing about rounding.
///
/// Zero is a measurement in two cases. Embeddings are looked up, so they have no noise. And in F64 the noise of
/// attention is smaller than the precision of the F32 states that are compared.
pub fn is_noise(decoder: &Decoder, tap: Tap, len: usize, distance: f64) -> bool {
    distance > 0.0 || tap == Tap::Embedding || (decoder.dtype() == DType::F64 && len > 1)
}

impl Extraction {
    /// Returns for each prompt whether it is computed together with another: in one batch, and in one part of it.
    pub fn accompanied(&self, decoder: &Decoder, prompts: &[Vec<u32>]) -> Vec<bool> {
        let lens: Vec<usize> = prompts.iter().map(Vec::len).collect();
        let mut accompanied = vec![false; prompts.len()];
        for batch in batches_by_length(decoder, &lens, self.taps.len(), self.memory_budget) {
            let width = batch.iter().map(|&prompt| lens[prompt]).max().unwrap_or(0);
            for part in decoder.parts(batch.len(), width) {
                batch[part.clone()].iter().for_each(|&prompt| accompanied[prompt] = part.len() > 1);
            }
        }
        accompanied
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    square.sqrt()
}
