//! The prompts of measurements.

mod file;

use std::{collections::HashSet, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, Model},
    states::prompts::{PromptError, check_rereadable},
};

pub(crate) use self::file::{TextOptions, open_ids, read_ids};
use super::room;
use crate::{number, outcome::Failure, output::note, random_tokens::RandomTokens};

/// The source of prompts as text.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompts")]
pub(crate) struct PromptOptions {
    /// A file of prompts: .txt (one a line), .jsonl, .json, .csv or .parquet (each with the field `text`) [default: generated text]
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    #[command(flatten)]
    texts: TextOptions,
    /// A file of prompts as token ids, one prompt a line: 1,2,3 or [1,2,3] or {"ids": [1,2,3]}; the model needs no tokenizer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "bos"])]
    pub(crate) prompt_ids: Option<PathBuf>,
    /// The number of prompts at the beginning of the file to skip, such as those a lens was made from
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) skip: usize,
    /// Whether the BOS token begins each prompt: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto)]
    pub(crate) bos: Bos,
    /// The seed of generated text and of random tokens
    #[arg(long, value_name = "SEED", default_value_t = 0xc0de)]
    pub(crate) prompt_seed: u64,
}

/// The number of generated texts that are tried for each requested prompt. Short texts have few different beginnings.
const TRIES: usize = 20;

/// Checks that prompts of these lengths fit into the memory that is free.
fn check_longest(model: &Model, lens: impl IntoIterator<Item = usize>) -> Result<(), Failure> {
    room::check_longest(&model.decoder, 1, 0, lens, None)
}

impl PromptOptions {
    /// Generated text of a seed.
    pub(crate) fn generated(seed: u64) -> Self {
        PromptOptions {
            prompts: None,
            texts: TextOptions::DEFAULT,
            prompt_ids: None,
            skip: 0,
            bos: Bos::Auto,
            prompt_seed: seed,
        }
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
        if let Some(ids) = self.ids()? {
            let long = ids.into_iter().filter(|ids| ids.len() >= length.get());
            check_longest(model, [length.get()])?;
            return Ok(self.different_ids(long, count, length, "different prompts as long"));
        }
        let (tokenizer, length) = (model.tokenizer()?, length.get());
        check_longest(model, [length])?;
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
        if let Some(ids) = self.ids()? {
            let prompts = self.different_ids(ids.into_iter(), count, longest, "different prompts");
            check_longest(model, prompts.iter().map(Vec::len))?;
            return Ok(prompts);
        }
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
        check_longest(model, prompts.iter().map(Vec::len))?;
        Ok(prompts)
    }

    /// Checks that the prompts can be read more than once.
    ///
    /// # Errors
    ///
    /// [`Failure`] if they come from a pipe or a device.
    pub(crate) fn check_rereadable(&self) -> Result<(), Failure> {
        Ok([&self.prompts, &self.prompt_ids].into_iter().flatten().try_for_each(check_rereadable)?)
    }

    /// The prompts that are given as ids.
    pub(crate) fn ids(&self) -> Result<Option<Vec<Vec<u32>>>, Failure> {
        self.prompt_ids.as_deref().map(read_ids).transpose()
    }

    /// Up to `count` different prompts of up to `longest` ids.
    fn different_ids(
        &self,
        prompts: impl Iterator<Item = Vec<u32>>,
        count: usize,
        longest: NonZeroUsize,
        noun: &str,
    ) -> Vec<Vec<u32>> {
        let mut seen = HashSet::new();
        let cut = prompts.map(|mut ids| {
            ids.truncate(longest.get());
            ids
        });
        let prompts: Vec<Vec<u32>> = cut.filter(|ids| seen.insert(ids.clone())).take(count).collect();
        self.tell_if_fewer(prompts.len(), count, noun);
        prompts
    }

    /// Reports that there are fewer prompts than requested.
    fn tell_if_fewer(&self, found: usize, count: usize, noun: &str) {
        if found < count {
            let source = self
                .prompts
                .as_ref()
                .or(self.prompt_ids.as_ref())
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
            Some(path) => Box::new(self.texts.open(path)?.skip(self.skip)),
        })
    }

    /// Whether this puts BOS before a text.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the model has no tokenizer.
    pub(crate) fn adds_bos(&self, model: &Model) -> Result<bool, Failure> {
        Ok(self.first_token(model)?.is_some())
    }

    /// The token that stands before each text. Prompts given as ids have none but their own.
    fn first_token(&self, model: &Model) -> Result<Option<u32>, Failure> {
        Ok(match self.prompt_ids {
            Some(_) => None,
            None => model.tokenizer()?.first_token(self.bos)?,
        })
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
        check_longest(model, [length.get()])?;
        let bos = self.first_token(model)?;
        let mut tokens = RandomTokens::seeded(self.prompt_seed, model.decoder.config().vocab_size);
        let prompt = |_| bos.into_iter().chain(&mut tokens).take(length.get()).collect();
        Ok((0..count).map(prompt).collect())
    }
}
