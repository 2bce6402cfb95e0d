//! The prompts of an extraction.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use inject_prompts::Generator;
use inject_sipit::{
    models::Bos,
    states::{
        prompts::{IdList, check_rereadable, encode},
        store::BosPolicy,
    },
};

use crate::{
    options::{
        LoadedModel,
        prompts::{TextOptions, open_ids},
    },
    outcome::Failure,
};

/// The place of the prompts: a file, a text, or the generator.
#[derive(Args, Debug)]
#[command(next_help_heading = "Prompts")]
#[group(skip)]
#[command(group = ArgGroup::new("source").required(true).args(["prompts", "prompt_ids", "text", "ids", "generate", "merge"]))]
pub(super) struct Source {
    /// A file of prompts: .txt (one a line), .jsonl, .json, .csv or .parquet (each with the field `text`)
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    texts: TextOptions,
    /// A file of prompts as token ids, one prompt a line: 1,2,3 or [1,2,3] or {"ids": [1,2,3]}; the model needs no tokenizer
    #[arg(long, value_name = "FILE")]
    prompt_ids: Option<PathBuf>,
    /// A prompt; may be repeated
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// A prompt as token ids 1,2,3, exactly as given (no BOS is added); may be repeated
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    ids: Vec<Ids>,
    /// The number of prompts to generate
    #[arg(long, value_name = "COUNT")]
    generate: Option<usize>,
    /// The seed of generated prompts
    #[arg(long, value_name = "SEED", default_value_t = 0xc0de)]
    prompt_seed: u64,
}

/// The token ids of one prompt.
#[derive(Clone, Debug)]
pub(crate) struct Ids(pub(crate) Vec<u32>);

pub(crate) fn parse_ids(text: &str) -> Result<Ids, String> {
    let parse =
        |id: &str| id.trim().parse::<u32>().map_err(|error| format!("`{id}` is not a token id: {error}"));
    text.split(',').map(parse).collect::<Result<_, _>>().map(Ids)
}

type Texts<'a> = Box<dyn Iterator<Item = Result<String, Failure>> + 'a>;

impl Source {
    /// Begins the list of prompts as token ids. Few of them are in memory at a time.
    pub(super) fn ids<'a>(
        &'a self,
        model: &'a LoadedModel,
        bos: Bos,
    ) -> Result<Box<dyn Iterator<Item = Result<Vec<u32>, Failure>> + 'a>, Failure> {
        Ok(match &self.prompt_ids {
            Some(path) => Box::new(open_ids(path)?.map(|ids| ids.map_err(Failure::from))),
            None if !self.ids.is_empty() => Box::new(self.ids.iter().map(|ids| Ok(ids.0.clone()))),
            None => Box::new(encode(self.texts()?, model.tokenizer()?, bos)),
        })
    }

    fn texts(&self) -> Result<Texts<'_>, Failure> {
        Ok(match (&self.prompts, self.generate) {
            (Some(path), _) => Box::new(self.texts.open(path)?.map(|text| text.map_err(Failure::from))),
            (None, Some(count)) => Box::new(Generator::new(self.prompt_seed).take(count).map(Ok)),
            (None, None) => Box::new(self.text.iter().cloned().map(Ok)),
        })
    }

    /// Checks that the prompts can be read twice.
    pub(super) fn check_rereadable(&self) -> Result<(), Failure> {
        Ok([&self.prompts, &self.prompt_ids].into_iter().flatten().try_for_each(check_rereadable)?)
    }

    /// Reads all prompts, whose ids may take `most` bytes.
    pub(super) fn all_ids(
        &self,
        model: &LoadedModel,
        bos: Bos,
        most: usize,
    ) -> Result<Vec<Vec<u32>>, Failure> {
        let mut list = IdList::new(most);
        for ids in self.ids(model, bos)? {
            list.push(ids?)?;
        }
        Ok(list.into_ids())
    }

    /// Returns what is done about BOS, and whether that adds the token to each prompt.
    pub(super) fn bos(&self, model: &LoadedModel, bos: Bos) -> Result<(BosPolicy, bool), Failure> {
        if self.prompt_ids.is_some() || !self.ids.is_empty() {
            return Ok((BosPolicy::AsGiven, false));
        }
        Ok((bos.into(), model.tokenizer()?.first_token(bos)?.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_between_commas() {
        assert_eq!(parse_ids("1, 2,3").unwrap().0, [1, 2, 3]);
        assert!(parse_ids("1,x").unwrap_err().contains("`x` is not a token id"));
    }
}
