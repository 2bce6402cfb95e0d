//! Generated text as tokens, for training and for measuring.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::Options;
use crate::{options::PromptOptions, outcome::Failure};

/// Next tokens of a window.
pub(crate) const WINDOW: usize = 64;
/// Tokens of the longest prompt.
const LONGEST: usize = 48;
/// Tokens of the prompts whose margins are measured, and of those that are inverted.
const PROBE: usize = 16;

/// The text that the decoders are trained on, and the prompts they are measured with.
pub(crate) struct Text {
    pub(crate) about: About,
    pub(crate) windows: Vec<Vec<u32>>,
    pub(crate) held_out: Vec<Vec<u32>>,
    /// Prompts among which the closest pair is searched, all different.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) margin_prompts: Vec<Vec<u32>>,
    pub(crate) inverted: Vec<Vec<u32>>,
}

/// The origin of the text, for the files.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct About {
    /// The seed of weights, batches and training text.
    pub(crate) seed: u64,
    /// The seed of the text that is not trained on.
    held_out_seed: u64,
    /// The seed of the prompts among which the closest pair is searched.
    prompt_seed: u64,
    /// The seed of the prompts whose margins are measured, and of those that are inverted.
    probe_seed: u64,
    /// The number of tokens in the vocabulary. The tokenizer is that of the bundled model.
    pub(crate) vocab_size: usize,
    /// Whether BOS stands before each prompt. Without it, rotary models give one state to repetitions of a token.
    bos_added: bool,
    /// The number of windows of text to train on.
    windows: usize,
    /// The number of next tokens in each window.
    window_next_tokens: usize,
    /// The number of prompts among which the closest pair is searched.
    pub(crate) prompts: usize,
    /// The largest number of tokens of these prompts.
    longest_prompt: usize,
    /// The number of parts of a batch that are computed at the same time.
    threads: usize,
    /// The name of the device that computed.
    device: String,
}

impl Text {
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        // Of this model only the tokenizer is used.
        let model = options.device.load_bundled()?;
        let source = PromptOptions::generated;
        let [held_out_seed, prompt_seed, probe_seed] = [1, 2, 3].map(|next| options.seed.wrapping_add(next));
        let [window, probe, longest] =
            [WINDOW + 1, PROBE, LONGEST].map(|length| NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN));
        let windows = options.windows.get();
        let probes = source(probe_seed).text(&model, 2 * options.probes.get(), probe)?;
        let (margin_prompts, inverted) = probes.split_at(probes.len() / 2);
        let prompts = source(prompt_seed).different(&model, options.count.get(), longest)?;
        Ok(Text {
            about: About {
                seed: options.seed,
                held_out_seed,
                prompt_seed,
                probe_seed,
                vocab_size: model.decoder.config().vocab_size,
                bos_added: source(prompt_seed).adds_bos(&model)?,
                windows,
                window_next_tokens: WINDOW,
                prompts: prompts.len(),
                longest_prompt: LONGEST,
                threads: options.threads.get(),
                device: options.device.device.to_string(),
            },
            windows: source(options.seed).text(&model, windows, window)?,
            held_out: source(held_out_seed).text(&model, windows, window)?,
            prompts,
            margin_prompts: margin_prompts.to_vec(),
            inverted: inverted.to_vec(),
        })
    }
}
