//! Plans of computation: the prompts that go through a model together.

use std::num::NonZeroUsize;

use inject_models::Decoder;

/// Splits prompts, given by their lengths, into batches of similar length, and returns the prompts' numbers.
///
/// Each batch fits into the budget of memory, in bytes, and needs one set of rotary frequencies. A prompt over the budget makes a batch
/// of its own. `taps` is the number of taps that are read.
///
/// Sorting by length keeps the padding small. Equal lengths stay in the given order, so the plan depends on nothing but
/// the arguments.
pub fn batches_by_length(
    decoder: &Decoder,
    lens: &[usize],
    taps: usize,
    memory_budget: usize,
) -> Vec<Vec<usize>> {
    let mut by_length: Vec<usize> = (0..lens.len()).collect();
    by_length.sort_by_key(|&prompt| lens[prompt]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for prompt in by_length {
        let len = lens[prompt];
        let fits = |batch: &Vec<usize>| {
            let bytes = (batch.len() + 1) * len * decoder.bytes_per_token(len, taps);
            bytes <= memory_budget && decoder.config().same_rotary(lens[batch[0]], len)
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(prompt),
            _ => batches.push(vec![prompt]),
        }
    }
    batches
}

/// Returns at most `sample` of the numbers below `count`, spread evenly from 0 on.
///
/// # Example
///
/// ```
/// use inject_states::batches::spread_evenly;
///
/// let sample = std::num::NonZeroUsize::new(4).unwrap();
/// assert_eq!(spread_evenly(10, sample).collect::<Vec<_>>(), [0, 3, 6, 9]);
/// ```
pub fn spread_evenly(count: usize, sample: NonZeroUsize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(sample.get()).max(1))
}

#[cfg(test)]
mod tests {
    use inject_testing::models::model;

    use super::*;

    fn decoder(case: &str) -> Decoder {
        model(case, &inject_testing::any_device()).decoder
    }

    #[test]
    fn every_prompt_is_in_exactly_one_batch() {
        let lens: Vec<usize> = (0..100).map(|i| 1 + (i * 37) % 24).collect();
        let mut seen: Vec<usize> = batches_by_length(&decoder("gpt2"), &lens, 3, 1 << 17).concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_prompt_over_the_budget_is_computed_alone() {
        assert_eq!(batches_by_length(&decoder("gpt2"), &[20, 20], 3, 1), [[0], [1]]);
    }

    #[test]
    fn lengths_on_both_sides_of_a_rotary_switch_are_kept_apart() {
        assert_eq!(batches_by_length(&decoder("phi4"), &[33, 32, 31], 1, usize::MAX), [vec![2, 1], vec![0]]);
    }

    #[test]
    fn a_sample_is_never_larger_than_asked_and_never_empty() {
        for (count, sample) in (1..40).flat_map(|count| (1..40).map(move |sample| (count, sample))) {
            let found = spread_evenly(count, NonZeroUsize::new(sample).unwrap()).count();
            assert!((1..=sample).contains(&found), "{count}, {sample}");
        }
        assert_eq!(spread_evenly(0, NonZeroUsize::MIN).count(), 0);
    }
}
