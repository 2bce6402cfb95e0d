//! Which prompts are computed together.

use inject_models::Decoder;

/// Splits prompts, given by their lengths, into batches of similar length, each within a budget of memory and under one set of
/// rotary frequencies. Gives the prompts' numbers. A prompt over the budget makes a batch of its own.
///
/// Sorting by length keeps the padding small; equal lengths stay in the order given, so the plan depends on nothing but
/// its arguments.
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

#[cfg(test)]
mod tests {
    use inject_models::{Model, Origin, Precision};

    use super::*;

    fn decoder(case: &str) -> Decoder {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../inject-models/tests/fixtures")
            .join(case);
        let device = burn::tensor::Device::flex();
        Model::load(Origin::of_folder(&folder), Precision::F32, &device).unwrap().decoder
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
}
