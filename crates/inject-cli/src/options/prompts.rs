//! The prompts of measurements.

use std::{collections::HashSet, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, Model},
    states::prompts::{PromptError, Prompts},
};

use crate::{Failure, number, output::note, random_tokens::RandomTokens};

/// Where the text of prompts comes from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompts")]
pub(crate) struct PromptOptions {
    /// A file of prompts: .txt (one a line), .jsonl (field `text`) or .parquet (column `text`) [default: generated text]
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// The number of prompts at the beginning of the file to skip, such as those a lens was made from
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "prompts")]
    pub(crate) skip: usize,
    /// Whether the BOS token begins each prompt: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto)]
    pub(crate) bos: Bos,
    /// The seed of generated text and of random tokens
    #[arg(long, value_name = "SEED", default_value_t = 0xc0de)]
    pub(crate) prompt_seed: u64,
}

/// Generated texts that are tried for each prompt asked for. Cut short enough, texts have only so many different beginnings.
const TRIES: usize = 20;

impl PromptOptions {
    /// Generated text of a seed.
    pub(crate) fn generated(seed: u64) -> Self {
        PromptOptions { prompts: None, skip: 0, bos: Bos::Auto, prompt_seed: seed }
    }

    /// Up to `count` different prompts of exactly `length` tokens of text. A text that is too short is continued by the next. With
    /// generated text there are fewer if no more are found within 20 texts for each.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the file cannot be read, or the model has no tokenizer.
    pub(crate) fn text(
        &self,
        model: &Model,
        count: usize,
        length: NonZeroUsize,
    ) -> Result<Vec<Vec<u32>>, Failure> {
        let (tokenizer, length) = (model.tokenizer()?, length.get());
        // Several texts may go into one prompt, each of at least one token.
        let texts = self.texts_or_generated(count.saturating_mul(length.max(TRIES)))?;
        let mut seen = HashSet::new();
        let mut prompts: Vec<Vec<u32>> = Vec::new();
        let mut begun: Vec<u32> = Vec::new();
        let mut repeated = 0;
        for text in texts {
            if prompts.len() == count || repeated > count.saturating_mul(TRIES) {
                break;
            }
            begun.extend(tokenizer.encode(&text?, if begun.is_empty() { self.bos } else { Bos::No })?);
            if begun.len() >= length {
                begun.truncate(length);
                let prompt = std::mem::take(&mut begun);
                if seen.insert(prompt.clone()) {
                    prompts.push(prompt);
                } else {
                    repeated += 1;
                }
            }
        }
        self.tell_if_fewer(
            prompts.len(),
            count,
            &format!("different prompts of {}", number::counted(length, "token")),
        );
        Ok(prompts)
    }

    /// Up to `count` texts, whole.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the file cannot be read.
    pub(crate) fn texts(&self, count: usize) -> Result<Vec<String>, Failure> {
        Ok(self.texts_or_generated(count)?.take(count).collect::<Result<_, _>>()?)
    }

    /// Up to `count` different prompts, each a text cut after `longest` tokens.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the file cannot be read, or the model has no tokenizer.
    pub(crate) fn different(
        &self,
        model: &Model,
        count: usize,
        longest: NonZeroUsize,
    ) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        let mut seen = HashSet::new();
        let mut prompts = Vec::new();
        for text in self.texts_or_generated(count.saturating_mul(TRIES))? {
            if prompts.len() == count {
                break;
            }
            let mut ids = tokenizer.encode(&text?, self.bos)?;
            ids.truncate(longest.get());
            if !ids.is_empty() && seen.insert(ids.clone()) {
                prompts.push(ids);
            }
        }
        self.tell_if_fewer(prompts.len(), count, "different prompts");
        Ok(prompts)
    }

    /// Says that there are fewer prompts than asked for.
    fn tell_if_fewer(&self, found: usize, count: usize, noun: &str) {
        if found < count {
            let source = self
                .prompts
                .as_ref()
                .map_or_else(|| "generated text".to_owned(), |path| path.display().to_string());
            let (found, count) = (number::count(found), number::count(count));
            note(&format!("only {found} {noun} in {source}, asked for {count}"));
        }
    }

    fn texts_or_generated(
        &self,
        most: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<String, PromptError>>>, Failure> {
        Ok(match &self.prompts {
            None => Box::new(Generator::new(self.prompt_seed).take(most).map(Ok)),
            Some(path) => Box::new(Prompts::open(path)?.skip(self.skip)),
        })
    }

    /// Whether this puts BOS before a text.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the model has no tokenizer.
    pub(crate) fn adds_bos(&self, model: &Model) -> Result<bool, Failure> {
        let tokenizer = model.tokenizer()?;
        Ok(tokenizer.first_token(self.bos)?.is_some())
    }

    /// `count` prompts of `length` tokens drawn uniformly from the vocabulary, after BOS where text stands after it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the model has no tokenizer.
    pub(crate) fn random(
        &self,
        model: &Model,
        count: usize,
        length: NonZeroUsize,
    ) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        let bos = tokenizer.first_token(self.bos)?;
        let mut tokens = RandomTokens::seeded(self.prompt_seed, model.decoder.config().vocab_size);
        let prompt = |_| bos.into_iter().chain(&mut tokens).take(length.get()).collect();
        Ok((0..count).map(prompt).collect())
    }
}
