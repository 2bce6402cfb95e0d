//! Generated text as tokens, for training and for measuring.

use burn::tensor::Device;
use inject_examples::{Failure, PromptArgs, bundled_model};
use inject_sipit::models::{Bos, Model, Origin, Precision};
use serde::Serialize;

use super::Options;

/// Next tokens of a window.
pub(crate) const WINDOW: usize = 64;
/// Tokens of the longest prompt.
const LONGEST: usize = 48;

/// What the decoders are trained on, and what they are measured with.
pub(crate) struct Text {
    pub(crate) about: About,
    pub(crate) windows: Vec<Vec<u32>>,
    pub(crate) held_out: Vec<Vec<u32>>,
    /// All different.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) margin_prompts: Vec<Vec<u32>>,
    pub(crate) inverted: Vec<Vec<u32>>,
}

/// Where all this comes from, for the files.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct About {
    /// Of weights, batches and training text.
    pub(crate) seed: u64,
    held_out_seed: u64,
    prompt_seed: u64,
    probe_seed: u64,
    /// The tokenizer is that of the small bundled model.
    pub(crate) vocab_size: usize,
    /// Whether BOS stands before each prompt. Without it, rotary models give one state to repetitions of a token.
    bos_added: bool,
    windows: usize,
    window_next_tokens: usize,
    pub(crate) prompts: usize,
    longest_prompt: usize,
    threads: usize,
    device: String,
}

impl Text {
    pub(crate) fn new(options: &Options, device: &Device) -> Result<Self, Failure> {
        // Of this model only the tokenizer is used.
        let model = Model::load(Origin::of_folder(&bundled_model()), Precision::F32, device)?;
        let source = |seed: u64| PromptArgs { prompts: None, skip: 0, bos: Bos::Auto, prompt_seed: seed };
        let [held_out_seed, prompt_seed, probe_seed] = [1, 2, 3].map(|next| options.seed.wrapping_add(next));
        let probes = source(probe_seed).text(&model, 2 * options.probes, 16)?;
        let (margin_prompts, inverted) = probes.split_at(probes.len() / 2);
        let prompts = source(prompt_seed).different(&model, options.count, LONGEST)?;
        Ok(Text {
            about: About {
                seed: options.seed,
                held_out_seed,
                prompt_seed,
                probe_seed,
                vocab_size: model.decoder.config().vocab_size,
                bos_added: source(prompt_seed).adds_bos(&model)?,
                windows: options.windows,
                window_next_tokens: WINDOW,
                prompts: prompts.len(),
                longest_prompt: LONGEST,
                threads: options.threads.get(),
                device: options.device.to_string(),
            },
            windows: source(options.seed).text(&model, options.windows, WINDOW + 1)?,
            held_out: source(held_out_seed).text(&model, options.windows, WINDOW + 1)?,
            prompts,
            margin_prompts: margin_prompts.to_vec(),
            inverted: inverted.to_vec(),
        })
    }
}
