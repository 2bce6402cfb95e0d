//! The noise floor: how far apart two computations of the same state lie.

use std::{collections::BTreeMap, num::NonZeroUsize};

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
    let sample = NonZeroUsize::new(sample).unwrap_or(NonZeroUsize::MIN);
    let sampled: Vec<Vec<u32>> =
        spread_evenly(prompts.len(), sample).map(|prompt| prompts[prompt].clone()).collect();
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

/// Up to `sample` of the numbers below `count`, spread evenly from 0 on.
///
/// # Example
///
/// ```
/// let sample = std::num::NonZeroUsize::new(4).unwrap();
/// assert_eq!(inject_states::spread_evenly(10, sample).collect::<Vec<_>>(), [0, 3, 6, 9]);
/// ```
pub fn spread_evenly(count: usize, sample: NonZeroUsize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(sample.get()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_never_larger_than_asked_and_never_empty() {
        for (count, sample) in (1..40).flat_map(|count| (1..40).map(move |sample| (count, sample))) {
            let found = spread_evenly(count, NonZeroUsize::new(sample).unwrap()).count();
            assert!((1..=sample).contains(&found), "{count}, {sample}");
        }
        assert_eq!(spread_evenly(0, NonZeroUsize::MIN).count(), 0);
    }
}
