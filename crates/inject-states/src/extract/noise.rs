//! The noise floor: how far apart two computations of the same state lie.

use std::collections::BTreeMap;

use inject_models::{Decoder, Tap};

use super::{ExtractError, Extraction};
use crate::store::NoiseFloors;

/// Computes a sample of the prompts together and again each alone, and gives the largest L2 distance between the two at
/// each tap.
///
/// The sample is spread evenly over the prompts. A floor of zero means that the two came out bitwise equal.
///
/// # Errors
///
/// As [`Extraction::run`].
pub fn measure_noise(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    sample: usize,
) -> Result<NoiseFloors, ExtractError> {
    let step = prompts.len().div_ceil(sample.max(1)).max(1);
    let sampled: Vec<Vec<u32>> = prompts.iter().step_by(step).cloned().collect();
    let together = extraction.run(decoder, &sampled, &mut |_| ())?;
    let mut floors: BTreeMap<Tap, Option<f64>> =
        extraction.taps().iter().map(|&tap| (tap, Some(0.0))).collect();
    let mut first = 0;
    for prompt in &sampled {
        let alone = extraction.run(decoder, std::slice::from_ref(prompt), &mut |_| ())?;
        for (tap, alone) in alone {
            for (row, alone) in alone.rows().into_iter().enumerate() {
                let beside = together[&tap].row(first + row);
                let square: f64 =
                    alone.iter().zip(beside).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                let floor = floors.entry(tap).or_insert(Some(0.0));
                *floor = floor.map(|floor| floor.max(square.sqrt()));
            }
        }
        first += extraction.rows(std::slice::from_ref(prompt));
    }
    Ok(NoiseFloors { prompts_sampled: sampled.len(), floors })
}
