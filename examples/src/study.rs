//! The options that every study has.

use std::{fs, path::PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use inject_sipit::{
    models::{Model, Tap},
    states::store::{Positions, StateDtype, StoreSpec},
};
use inject_studies::{Run, Share, StudyProgress};
use serde::Serialize;

use crate::{Failure, PromptArgs, say};

/// Where a study's results go, and which part of it is done.
#[derive(Args, Clone, Debug)]
pub struct StudyArgs {
    /// The folder for results; a study that was killed goes on from what is there
    #[arg(long, value_name = "DIR", default_value = "target/studies")]
    pub out: PathBuf,
    /// Write the result to standard output as JSON
    #[arg(long)]
    pub json: bool,
    /// Do one part of the study, `PART/PARTS` with parts counted from 1: each needs a folder of its own
    #[arg(long, value_name = "PART/PARTS", value_parser = parse_share)]
    pub share: Option<Share>,
    /// The journal of another part, whose results are taken over; may be repeated
    #[arg(long, value_name = "FILE")]
    pub merge: Vec<PathBuf>,
}

fn parse_share(text: &str) -> Result<Share, String> {
    let wrong = || format!("`{text}` is no share: expected PART/PARTS, such as 1/3");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (part, parts) = (number(part)?, number(parts)?);
    match part.checked_sub(1) {
        Some(part) if part < parts => Ok(Share { part, parts }),
        _ => Err(wrong()),
    }
}

impl StudyArgs {
    /// Carries out a study with a bar on standard error, its journal in the folder, and the result in `name.json` beside it.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or the study fails.
    pub fn carry_out<S: Serialize, E: std::error::Error>(
        &self,
        name: &str,
        study: impl FnOnce(Run<'_>) -> Result<S, E>,
    ) -> Result<S, Failure> {
        fs::create_dir_all(&self.out)?;
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("{msg} {bar:40} {percent}%, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name.to_owned());
        let mut progress = |told: StudyProgress| {
            let done = (told.units_done as f64 + told.of_next) / told.units.max(1) as f64;
            bar.set_position((done * 1000.0) as u64);
        };
        let run = Run {
            journal: Some(self.out.join(format!("{name}.jsonl"))),
            others: self.merge.clone(),
            share: self.share.unwrap_or(Share::WHOLE),
            progress: &mut progress,
        };
        let result = study(run)?;
        bar.finish_and_clear();
        let json = serde_json::to_string_pretty(&result)?;
        fs::write(self.out.join(format!("{name}.json")), &json)?;
        if self.json {
            say(&json)?;
        }
        Ok(result)
    }
}

/// What a store of states of this model is made from.
///
/// # Errors
///
/// When the weights cannot be read for their hash, or the model has no tokenizer.
pub fn spec_of(model: &Model, prompts: &PromptArgs, taps: Vec<Tap>) -> Result<StoreSpec, Failure> {
    Ok(StoreSpec {
        model_id: model.origin().id.clone(),
        revision: model.origin().revision.clone(),
        weight_hash: model.weight_hash()?,
        tokenizer_hash: Some(model.tokenizer()?.hash().to_owned()),
        taps,
        dtype: StateDtype::F32,
        bos: prompts.bos.to_string(),
        bos_added: prompts.adds_bos(model)?,
        positions: Positions::Last,
        d_model: model.decoder.config().d_model,
    })
}
