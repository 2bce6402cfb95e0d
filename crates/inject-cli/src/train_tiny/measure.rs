//! Measurements of the trained model.

use std::fmt;

use inject_prompts::DocumentKind;
use inject_sipit::models::{
    Bos, Decoder, Logits, Model, ModelError, Tap, TokenBatch, training::next_token_loss,
};
use tokenizers::Tokenizer;

use super::text::{END_OF_TEXT_ID, Text, VOCAB_SIZE};
use crate::{interrupt, outcome::Failure};

/// Losses on text the model has not seen.
///
/// # Units
///
/// Nats a token.
pub(crate) struct HeldOut {
    all: f64,
    stories: f64,
    code: f64,
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldOut { all, stories, code } = self;
        write!(f, "{all:.3} nats a token (stories {stories:.3}, code {code:.3})")
    }
}

/// Measures the loss on documents of a seed, on both kinds as they come and on each alone.
pub(crate) fn held_out_losses(
    decoder: &Decoder,
    seed: u64,
    tokenizer: &Tokenizer,
) -> Result<HeldOut, Failure> {
    const BATCHES: usize = 32;
    const WINDOWS: usize = 4;
    let text = || Text::new(seed, tokenizer.clone());
    let mean = |mut text: Text| -> Result<f64, Failure> {
        let mut sum = 0.0;
        for _ in 0..BATCHES {
            interrupt::check();
            sum += f64::from(next_token_loss(decoder, &text.windows(WINDOWS)?)?.into_scalar::<f32>());
        }
        Ok(sum / BATCHES as f64)
    };
    Ok(HeldOut {
        all: mean(text())?,
        stories: mean(text().only(DocumentKind::Story))?,
        code: mean(text().only(DocumentKind::Code))?,
    })
}

/// The prompt and the most likely tokens after it, to the end of the document or up to a number of tokens.
pub(crate) fn continuation(model: &Model, prompt: &str, most: usize) -> Result<String, ModelError> {
    let tokenizer = model.tokenizer()?;
    let mut ids = tokenizer.encode(prompt, Bos::Yes)?;
    let mut cache = model.decoder.prefix_cache(1, ids.len() + most, Tap::FinalNorm)?;
    let mut new = ids.clone();
    for _ in 0..most {
        let forward = model.decoder.extend(&mut cache, &TokenBatch::new(&[new])?, &[], Logits::Last)?;
        let logits = forward.logits.expect("the last logits were asked for");
        let next = logits.reshape([VOCAB_SIZE]).argmax(0).into_scalar::<u32>();
        if next == END_OF_TEXT_ID {
            break;
        }
        ids.push(next);
        new = vec![next];
    }
    tokenizer.decode(&ids)
}
