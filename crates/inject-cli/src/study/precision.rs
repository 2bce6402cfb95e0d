//! `inject study precision`: what narrow formats and noise do to distances, to one-step decoding, and to whole prompts.

mod figures;
mod tables;

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use inject_sipit::{
    Lens, PolicyChoice,
    models::{Decoder, NumberFormat, Tap},
    states::Disturbance,
};
use inject_studies::{
    ChosenPositions, StudyName, decoding,
    decoding::{DecodingOptions, Producer},
    formats,
    formats::{FormatOptions, Storage},
    recovery,
    recovery::{Condition, RecoveryOptions},
};

use crate::{
    lenses::find_lens,
    options::{
        LoadedModel, Megabytes, ModelOptions, PromptOptions, StudyOptions, TapsOption, policy::beginning,
        study::Study,
    },
    outcome::Failure,
    output::note,
    report::Report,
    table::Table,
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
    parts: Vec<Part>,
    #[command(flatten)]
    taps: TapsOption,
    /// The formats of weights: f16, bf16, int8, int4, nf4, fp4
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "f16,bf16,int8,int4,nf4,fp4")]
    weights: Vec<NumberFormat>,
    /// The disturbances of states: f16, bf16, int8-row, int8-tensor, int4-row, int4-tensor, dropout:SHARE, clip:TIMES, noise:NORM
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "f16,bf16,int8-row,int8-tensor,int4-row,int4-tensor,dropout:0.1,dropout:0.5,clip:2"
    )]
    disturbances: Vec<Disturbance>,
    /// The seed of disturbances, directions and projections
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    study: StudyOptions,
    /// The number of tokens in each prompt
    #[arg(long, value_name = "TOKENS", default_value = "24", help_heading = "Prompts")]
    length: NonZeroUsize,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    formats: FormatPart,
    #[command(flatten)]
    decoding: DecodingPart,
    #[command(flatten)]
    recovery: RecoveryPart,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one batch may take
    #[arg(long, value_name = "MB", default_value = "1024")]
    memory: Megabytes,
}

/// A part of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The closest pairs of many prompts in each format
    Formats,
    /// Every token of the vocabulary after a true prefix
    Decoding,
    /// Whole prompts, through the inverter
    Recovery,
}

impl Part {
    fn study(self) -> StudyName {
        match self {
            Part::Formats => StudyName::Formats,
            Part::Decoding => StudyName::Decoding,
            Part::Recovery => StudyName::Recovery,
        }
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part formats")]
struct FormatPart {
    /// The number of different prompts among which the closest pair is searched
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    pairs_of: NonZeroUsize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part decoding")]
struct DecodingPart {
    /// The number of prompts that are decoded
    #[arg(long, value_name = "COUNT", default_value = "8")]
    count: NonZeroUsize,
    /// Decode every NUMBER-th position
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    every: NonZeroUsize,
    /// Random directions of noise at each of these positions
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    directions: usize,
    /// The numbers of dimensions onto which states are projected
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "4,16,64")]
    dimensions: Vec<usize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "The part recovery")]
struct RecoveryPart {
    /// The number of whole prompts to recover under each condition
    #[arg(long, value_name = "COUNT", default_value = "2")]
    whole: NonZeroUsize,
    /// The taps of the whole prompts [default: three of --taps, evenly spread]
    #[arg(long, value_name = "LIST")]
    whole_taps: Option<String>,
    /// The norms of noise on whole prompts, as shares of the prompt's least margin
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.25,0.5,1,2")]
    noise: Vec<f64>,
    /// The folder of the model's lenses, as `inject lens` writes them
    #[arg(long, value_name = "FOLDER")]
    lens: Option<PathBuf>,
    /// Other candidates to test before one that fits is accepted
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    rivals: usize,
    /// The most candidates to test at each position. The size of the vocabulary or more means a certificate
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    max_candidates: NonZeroUsize,
}

/// Runs the requested parts.
///
/// # Errors
///
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let names: Vec<StudyName> = options.parts.iter().map(|part| part.study()).collect();
    let study = options.study.begin("precision", &names)?;
    let model = options.model.load()?;
    let taps = options.taps.of(&model)?;
    let whole_taps = match &options.recovery.whole_taps {
        None => three_of(&taps),
        Some(list) => TapsOption { taps: list.clone() }.of(&model)?,
    };
    let asked = |part: Part| options.parts.contains(&part);
    let lenses = if asked(Part::Recovery) { options.lenses(&model, &whole_taps)? } else { BTreeMap::new() };
    let mut report = Report::new("Prompts in narrow formats and noise");
    report.fact("Model", model.id());
    report.fact("Weights", model.weight_hash()?);
    let mut experiment = Experiment { options, model, taps, study, report };
    if asked(Part::Formats) {
        experiment.formats()?;
    }
    if asked(Part::Decoding) {
        experiment.decoding()?;
    }
    if asked(Part::Recovery) {
        experiment.recovery(whole_taps, &lenses)?;
    }
    experiment.study.finish();
    Ok(())
}

impl Options {
    /// The lenses that there are for the taps.
    fn lenses(&self, model: &LoadedModel, taps: &[Tap]) -> Result<BTreeMap<Tap, Arc<Lens>>, Failure> {
        let mut lenses = BTreeMap::new();
        let Some(folder) = &self.recovery.lens else { return Ok(lenses) };
        for &tap in taps {
            match find_lens(folder, model, tap)? {
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

struct Experiment<'a> {
    options: &'a Options,
    model: LoadedModel,
    taps: Vec<Tap>,
    study: Study,
    report: Report,
}

impl Experiment<'_> {
    fn formats(&mut self) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, formats: part, .. } = self.options;
        let prompts = prompts.different(&self.model, part.pairs_of.get(), self.options.length)?;
        // A random disturbance of each state says nothing about how close two of them were.
        let states = disturbances.iter().filter(|disturbance| !disturbance.is_random());
        let storages = [Storage::AsComputed]
            .into_iter()
            .chain(weights.iter().map(|&format| Storage::Weights(format)))
            .chain(states.map(|&disturbance| Storage::States(disturbance)));
        let mut asked = FormatOptions::new(self.taps.clone(), storages.collect());
        asked.seed = self.options.seed;
        asked.memory_budget = self.options.memory.bytes();
        let hash = self.model.weight_hash()?;
        let found = self
            .study
            .carry_out(StudyName::Formats, |run| formats(&self.model.decoder, hash, &prompts, &asked, run))?;
        self.report.heading("Closest pairs");
        self.show("formats", tables::formats(&found));
        for (name, figure) in figures::formats(&found, self.model.id()) {
            self.report.figure(name, figure);
        }
        self.study.write(&self.report)
    }

    fn decoding(&mut self) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, decoding: part, .. } = self.options;
        let prompts = prompts.text(&self.model, part.count.get(), self.options.length)?;
        let positions = ChosenPositions::new(0, part.every);
        let mut asked = DecodingOptions::new(self.taps.clone(), positions);
        asked.disturbances.clone_from(disturbances);
        asked.directions = part.directions;
        asked.dimensions.clone_from(&part.dimensions);
        asked.seed = self.options.seed;
        asked.memory_budget = self.options.memory.bytes();
        let quantised = weights.iter().map(|&format| {
            let decoder = self.model.decoder.clone().with_weights_in(format)?;
            Ok((Condition::UnknownWeights { weights: format }.to_string(), decoder))
        });
        let quantised: Vec<(String, Decoder)> = quantised.collect::<Result<_, Failure>>()?;
        let producers: Vec<Producer<'_>> =
            quantised.iter().map(|(name, decoder)| Producer::new(name, decoder)).collect();
        let hash = self.model.weight_hash()?;
        let found = self.study.carry_out(StudyName::Decoding, |run| {
            decoding(&self.model.decoder, hash, &producers, &prompts, &asked, run)
        })?;
        self.report.heading("One-step decoding");
        self.show("decoding", tables::decoding(&found));
        self.show("breaking", tables::breaking(&found));
        self.show("projections", tables::projections(&found));
        self.report.table("survival", tables::survival(&found));
        for (name, figure) in figures::decoding(&found, self.model.id()) {
            self.report.figure(name, figure);
        }
        self.study.write(&self.report)
    }

    fn recovery(&mut self, taps: Vec<Tap>, lenses: &BTreeMap<Tap, Arc<Lens>>) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, recovery: part, .. } = self.options;
        let length = self.options.length;
        let prompts = prompts.text(&self.model, part.whole.get(), length)?;
        let conditions = [Condition::Exact]
            .into_iter()
            .chain(weights.iter().flat_map(|&weights| {
                [Condition::KnownWeights { weights }, Condition::UnknownWeights { weights }]
            }))
            .chain(disturbances.iter().map(|&disturbance| Condition::States { disturbance }))
            .chain(part.noise.iter().map(|&share_of_margin| Condition::Noise { share_of_margin }));
        let most = part.max_candidates.get();
        let asked =
            RecoveryOptions::new(taps, conditions.collect(), part.rivals, most).with_seed(self.options.seed);
        let bos = beginning(&self.model);
        let mut policy = |decoder: &Decoder, tap: Tap| {
            Ok(PolicyChoice::auto(decoder, tap, length.get(), lenses.get(&tap).cloned(), bos).policy)
        };
        let hash = self.model.weight_hash()?;
        let found = self.study.carry_out(StudyName::Recovery, |run| {
            recovery(&self.model.decoder, hash, &prompts, &asked, &mut policy, run)
        })?;
        self.report.heading("Whole prompts");
        self.show("recovery", tables::recovery(&found));
        self.report.figure("recovery", figures::recovery(&found, self.model.id()));
        self.study.write(&self.report)
    }

    /// Shows a table, and adds it to the report.
    fn show(&mut self, file: &str, table: Table) {
        self.study.show(&format!("{}\n", table.text()));
        self.report.table(file, table);
    }
}

/// The first after the embedding, the one in the middle and the last.
fn three_of(taps: &[Tap]) -> Vec<Tap> {
    let after: Vec<Tap> = taps.iter().copied().filter(|&tap| tap != Tap::Embedding).collect();
    let after = if after.is_empty() { taps } else { &after };
    let mut three = vec![after[0], after[after.len() / 2], after[after.len() - 1]];
    three.dedup();
    three
}
