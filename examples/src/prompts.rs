//! Prompts of one length, for measurements.

use std::{collections::HashSet, path::PathBuf};

use clap::Args;
use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, Model},
    states::prompts::{PromptError, Prompts, read_prompts},
};

use crate::{Failure, RandomTokens};

/// Where the text of prompts comes from.
#[derive(Args, Clone, Debug)]
pub struct PromptArgs {
    /// Prompts to cut to length (.txt, .jsonl, .parquet) [default: the project's own generated text]
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Prompts of the file to pass over: those a lens was made from
    #[arg(long, default_value_t = 0)]
    pub skip: usize,
    /// Whether BOS stands before each prompt: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    pub bos: Bos,
    /// The seed of generated text and of random tokens
    #[arg(long, default_value_t = 0xc0de)]
    pub prompt_seed: u64,
}

impl PromptArgs {
    /// Up to `count` different prompts of exactly `length` tokens of text. A text shorter than that goes on with the next.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or the model has no tokenizer.
    pub fn text(&self, model: &Model, count: usize, length: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        let texts: Box<dyn Iterator<Item = String>> = match &self.prompts {
            None => Box::new(Generator::new(self.prompt_seed)),
            Some(path) => Box::new(read_prompts(path)?.into_iter().skip(self.skip)),
        };
        let mut prompts: Vec<Vec<u32>> = Vec::new();
        let mut begun: Vec<u32> = Vec::new();
        for text in texts {
            if prompts.len() == count {
                break;
            }
            begun.extend(tokenizer.encode(&text, if begun.is_empty() { self.bos } else { Bos::No })?);
            if begun.len() >= length {
                begun.truncate(length);
                let prompt = std::mem::take(&mut begun);
                if !prompts.contains(&prompt) {
                    prompts.push(prompt);
                }
            }
        }
        Ok(prompts)
    }

    /// Up to `count` texts, whole.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn texts(&self, count: usize) -> Result<Vec<String>, Failure> {
        Ok(match &self.prompts {
            None => Generator::new(self.prompt_seed).take(count).collect(),
            Some(path) => Prompts::open(path)?.skip(self.skip).take(count).collect::<Result<_, _>>()?,
        })
    }

    /// The first `count` texts that are different prompts token by token, each cut after `longest` tokens. Fewer where there
    /// are no more.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or the model has no tokenizer.
    pub fn different(&self, model: &Model, count: usize, longest: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        let texts: Box<dyn Iterator<Item = Result<String, PromptError>>> = match &self.prompts {
            // It has no end, but cut short enough its texts have only so many different beginnings.
            None => Box::new(Generator::new(self.prompt_seed).take(count.saturating_mul(20)).map(Ok)),
            Some(path) => Box::new(Prompts::open(path)?.skip(self.skip)),
        };
        let mut seen = HashSet::new();
        let mut prompts = Vec::new();
        for text in texts {
            if prompts.len() == count {
                break;
            }
            let mut ids = tokenizer.encode(&text?, self.bos)?;
            ids.truncate(longest);
            if !ids.is_empty() && seen.insert(ids.clone()) {
                prompts.push(ids);
            }
        }
        Ok(prompts)
    }

    /// Whether this puts BOS in front of a text.
    ///
    /// # Errors
    ///
    /// When the model has no tokenizer.
    pub fn adds_bos(&self, model: &Model) -> Result<bool, Failure> {
        let tokenizer = model.tokenizer()?;
        let ids = tokenizer.encode("a", self.bos)?;
        Ok(tokenizer.begins_with_bos(&ids) && tokenizer.encode("a", Bos::No)? != ids)
    }

    /// `count` prompts of `length` tokens drawn uniformly from the vocabulary, behind BOS where text stands behind it.
    ///
    /// # Errors
    ///
    /// When the model has no tokenizer.
    pub fn random(&self, model: &Model, count: usize, length: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        let begins = tokenizer.encode("a", self.bos)?;
        let bos = begins.first().copied().filter(|_| tokenizer.begins_with_bos(&begins));
        let mut tokens = RandomTokens::seeded(self.prompt_seed, model.decoder.config().vocab_size);
        let prompt = |_| bos.into_iter().chain(&mut tokens).take(length).collect();
        Ok((0..count).map(prompt).collect())
    }
}
