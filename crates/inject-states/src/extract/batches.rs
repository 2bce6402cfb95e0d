//! Which prompts are computed together.

use inject_models::DecoderConfig;

/// Splits prompts into batches of similar length, each within a budget of memory and under one set of rotary frequencies.
/// Gives the prompts' numbers.
///
/// Sorting by length keeps the padding small; equal lengths stay in the order given, so the plan depends on nothing but
/// its arguments.
pub(super) fn plan(
    config: &DecoderConfig,
    prompts: &[Vec<u32>],
    taps: usize,
    memory_budget: usize,
) -> Vec<Vec<usize>> {
    let mut by_length: Vec<usize> = (0..prompts.len()).collect();
    by_length.sort_by_key(|&prompt| prompts[prompt].len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for prompt in by_length {
        let len = prompts[prompt].len();
        let fits = |batch: &Vec<usize>| {
            let shortest = prompts[batch[0]].len();
            let bytes = (batch.len() + 1) * len * bytes_per_token(config, len, taps);
            bytes <= memory_budget && config.same_rotary(shortest, len)
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(prompt),
            _ => batches.push(vec![prompt]),
        }
    }
    batches
}

/// What one token of a batch takes while its widest block is computed: the states kept, the residual stream and its
/// copies, the fused projections, and a row of attention scores for each head; f32.
fn bytes_per_token(config: &DecoderConfig, len: usize, taps: usize) -> usize {
    let widest = config.blocks.iter().map(|block| {
        let attention = &block.attention;
        2 * attention.qkv_width() + 3 * block.feed_forward.up_width() + attention.n_heads * len
    });
    4 * ((taps + 6) * config.d_model + widest.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use inject_models::{Model, Origin, Precision};

    use super::*;

    fn config(case: &str) -> DecoderConfig {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../inject-models/tests/fixtures")
            .join(case);
        let device = burn::tensor::Device::flex();
        Model::load(Origin::of_folder(&folder), Precision::F32, &device).unwrap().decoder.config().clone()
    }

    #[test]
    fn every_prompt_is_in_exactly_one_batch() {
        let prompts: Vec<Vec<u32>> = (0..100).map(|i| vec![1; 1 + (i * 37) % 24]).collect();
        let mut seen: Vec<usize> = plan(&config("gpt2"), &prompts, 3, 1 << 17).concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_prompt_over_the_budget_is_computed_alone() {
        let prompts = vec![vec![1; 20], vec![1; 20]];
        assert_eq!(plan(&config("gpt2"), &prompts, 3, 1), [[0], [1]]);
    }

    #[test]
    fn lengths_on_both_sides_of_a_rotary_switch_are_kept_apart() {
        let prompts = vec![vec![1; 33], vec![1; 32], vec![1; 31]];
        assert_eq!(plan(&config("phi4"), &prompts, 1, usize::MAX), [vec![2, 1], vec![0]]);
    }
}
