//! The options of the study and of its parts.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use inject_sipit::{
    Lens,
    models::{NumberFormat, Tap},
    states::Disturbance,
};
use inject_studies::StudyName;

use crate::{
    lenses::{Checksums, find_lens},
    options::{LoadedModel, Megabytes, ModelOptions, PromptOptions, StudyOptions, TapsOption},
    outcome::Failure,
    output::note,
};

/// Measure how well prompts survive narrow number formats and noise
#[derive(Args, Debug)]
#[command(
    long_about = "Measure how well prompts survive narrow number formats and noise.\n\n\
Three parts: formats (the closest pairs of many prompts), decoding (every token of the vocabulary after a true prefix) \
and recovery (whole prompts). Four cases are distinguished: quantised weights on both sides, quantised weights on the \
producing side alone, rounded or damaged states, and added noise. docs/guide/6-precision.md says what the numbers mean.",
    after_help = "\
Examples:
  inject study precision --parts formats --pairs-of 200
  inject study precision --model FOLDER --prompts prompts.jsonl --lens LENSES --taps block-1

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    /// The parts to run
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "formats,decoding,recovery"
    )]
    pub(super) parts: Vec<Part>,
    #[command(flatten)]
    pub(super) taps: TapsOption,
    /// The formats of weights: f16, bf16, int8, q8_0, int4, nf4, fp4, q4_0, q4_1
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "f16,bf16,int8,int4,nf4,fp4")]
    pub(super) weights: Vec<NumberFormat>,
    /// The disturbances of states: f16, bf16, int8-row, int8-tensor, int4-row, int4-tensor, dropout:SHARE, clip:TIMES, noise:NORM
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "f16,bf16,int8-row,int8-tensor,int4-row,int4-tensor,dropout:0.1,dropout:0.5,clip:2"
    )]
    pub(super) disturbances: Vec<Disturbance>,
    /// The seed of disturbances, directions and projections
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) study: StudyOptions,
    /// The number of tokens in each prompt
    #[arg(long, value_name = "TOKENS", default_value = "24", help_heading = "Prompts")]
    pub(super) length: NonZeroUsize,
    #[command(flatten)]
    pub(super) prompts: PromptOptions,
    #[command(flatten)]
    pub(super) formats: FormatPart,
    #[command(flatten)]
    pub(super) decoding: DecodingPart,
    #[command(flatten)]
    pub(super) recovery: RecoveryPart,
    #[command(flatten)]
    pub(super) model: ModelOptions,
    /// Megabytes that one batch may take. If given, a prompt that needs more is refused [default: 1024]
    #[arg(long, value_name = "MB")]
    pub(super) memory: Option<Megabytes>,
}

/// A part of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// The closest pairs of many prompts in each format
    Formats,
    /// Every token of the vocabulary after a true prefix
    Decoding,
    /// Whole prompts, through the inverter
    Recovery,
}

impl Part {
    pub(super) fn study(self) -> StudyName {
        match self {
            Part::Formats => StudyName::Formats,
            Part::Decoding => StudyName::Decoding,
            Part::Recovery => StudyName::Recovery,
        }
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part formats")]
pub(super) struct FormatPart {
    /// The number of different prompts among which the closest pair is searched
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    pub(super) pairs_of: NonZeroUsize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part decoding")]
pub(super) struct DecodingPart {
    /// The number of prompts that are decoded
    #[arg(long, value_name = "COUNT", default_value = "8")]
    pub(super) count: NonZeroUsize,
    /// Decode every NUMBER-th position
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    pub(super) every: NonZeroUsize,
    /// Random directions of noise at each of these positions
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    pub(super) directions: usize,
    /// The numbers of dimensions onto which states are projected
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "4,16,64")]
    pub(super) dimensions: Vec<usize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part recovery")]
pub(super) struct RecoveryPart {
    /// The number of whole prompts to recover under each condition
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub(super) whole: NonZeroUsize,
    /// The taps of the whole prompts [default: three of --taps, evenly spread]
    #[arg(long, value_name = "LIST")]
    pub(super) whole_taps: Option<String>,
    /// The norms of noise on whole prompts, as shares of the prompt's least margin
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.25,0.5,1,2")]
    pub(super) noise: Vec<f64>,
    /// The folder of the model's lenses, as `inject lens` writes them
    #[arg(long, value_name = "FOLDER")]
    pub(super) lens: Option<PathBuf>,
    /// Other candidates to test before one that fits is accepted
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    pub(super) rivals: usize,
    /// The most candidates to test at each position. The size of the vocabulary or more means a certificate
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    pub(super) max_candidates: NonZeroUsize,
}

impl Options {
    /// Reads the lenses of the taps that have one.
    pub(super) fn lenses(
        &self,
        model: &LoadedModel,
        taps: &[Tap],
    ) -> Result<BTreeMap<Tap, Arc<Lens>>, Failure> {
        let mut lenses = BTreeMap::new();
        let Some(folder) = &self.recovery.lens else { return Ok(lenses) };
        for &tap in taps {
            match find_lens(folder, model, tap, Checksums::Compared)? {
                Some(lens) => {
                    lenses.insert(tap, lens);
                }
                None => note(&format!("no lens for {tap} in {}", folder.display())),
            }
        }
        if lenses.is_empty() {
            return Err(Failure::new(format!("--lens {}: no lens for any of the taps", folder.display())));
        }
        Ok(lenses)
    }
}
