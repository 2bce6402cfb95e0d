//! `inject depth`: time, forward-pass equivalents and margins of inversion, against tap and prompt length.

mod figures;
mod record;
mod summary;

use std::{collections::BTreeMap, num::NonZeroUsize, time::Instant};

use clap::Args;
use inject_sipit::{
    TargetStates,
    models::{FloatFormat, Tap},
    states::{Disturbance, Rounding, States, prompt_states},
};
use inject_studies::{Completeness, StudyName, fingerprint, journal::Description, recovery::least_margin};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::{
    forward::forward_seconds,
    inverter,
    lenses::check_lenses,
    options::{
        FileFormat, LoadedModel, ModelOptions, PolicyOptions, PromptOptions, StudyOptions, TapsOption,
    },
    outcome::{Failure, Outcome},
    report::Report,
};
pub(crate) use record::Kind;
use record::{Record, Seconds};

/// Measure inversions at several taps and prompt lengths
#[derive(Args, Debug)]
#[command(
    long_about = "Measure inversions at several taps and prompt lengths.\n\n\
Prompts are cut to the requested length. As many prompts of random tokens are added. The states \
of every prompt are computed, rounded to --format, and disturbed with --noise-share. The prompt is forgotten, recovered, \
and only then compared.\n\n\
A margin is the distance of the nearest other token tested, divided by the noise floor: the smallest over the positions. \
A prompt has none if no other token was tested at any position.",
    after_help = "\
Examples:
  inject depth --taps block-1,block-3 --lengths 8,16,32
  inject depth --model FOLDER --lens LENSES --prompts prompts.jsonl --taps all --out depth

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// The prompt lengths in tokens
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "64")]
    lengths: Vec<NonZeroUsize>,
    /// The number format in which the states are given to the inverter
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FileFormat::F32)]
    format: FileFormat,
    /// Add Gaussian noise to every state: this share of the prompt's least margin
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, conflicts_with = "noise")]
    noise_share: Option<f64>,
    /// Candidates at each position among which the margin for --noise-share is measured
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    margin_rivals: usize,
    #[command(flatten)]
    study: StudyOptions,
    /// The number of prompts of text at each tap and length
    #[arg(long, value_name = "COUNT", default_value = "10", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// The number of prompts of random tokens [default: as many as the others]
    #[arg(long, value_name = "COUNT", help_heading = "Prompts")]
    random: Option<usize>,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    model: ModelOptions,
}

/// The results of `inject depth`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Depth {
    /// The model: a Hub id, the name of a folder, or `bundled`.
    pub(crate) model: String,
    /// The inversion of each prompt at each tap and length.
    pub(crate) records: Vec<Record>,
    /// The units that the result contains. A unit is all prompts of one length at one tap.
    pub(crate) completeness: Completeness,
}

/// A unit of the measurement: all prompts of one length at one tap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Unit {
    length: usize,
    tap: Tap,
}

/// The distances between prompts of one length.
type Prompts = Vec<(Kind, Vec<u32>)>;

/// Measures the inversions, and writes tables and figures.
///
/// # Errors
///
/// [`Failure`] if there are no prompts of a length, or something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    options.policy.settings()?;
    if let Some(share) = options.noise_share.filter(|share| !share.is_finite() || *share < 0.0) {
        return Err(Failure::usage(format!(
            "--noise-share {share}: expected a finite number that is not negative"
        )));
    }
    options.study.check_prompts(&options.prompts, options.lengths.len())?;
    let study = options.study.begin("depth", &[StudyName::Depth])?;
    let model = options.model.load()?;
    let taps = options.taps.of(&model)?;
    check_lenses(options.policy.lens.as_deref(), &taps)?;
    let prompts = options.lengths.iter().map(|&length| Ok((length.get(), options.prompts(&model, length)?)));
    let prompts = prompts.collect::<Result<BTreeMap<usize, Prompts>, Failure>>()?;
    let lengths = options.lengths.iter().map(|length| length.get());
    let units = lengths.flat_map(|length| taps.iter().map(move |&tap| Unit { length, tap })).collect();
    let about = options.about(&model, &prompts)?;
    let depth = study.carry_out(StudyName::Depth, |run| {
        let compute = |unit: &Unit, done: &mut dyn FnMut(f64)| {
            at_tap(options, &model, unit.tap, &prompts[&unit.length], done)
        };
        let finished = run.complete(&about, units, compute)?;
        let records = finished.results.into_iter().flat_map(|(_, records)| records).collect();
        let completeness = finished.completeness;
        Ok::<_, Failure>(Depth { model: model.id().to_owned(), records, completeness })
    })?;

    let mut report = Report::new("Inversions by tap and prompt length");
    report.fact("Model", model.id());
    report.fact("Weights", model.weight_hash()?);
    let summary = summary::table(&depth.records);
    study.show(&summary.text());
    report.table_on_page(summary);
    report.table("depth", record::table(&depth.records));
    for (name, figure) in figures::figures(model.id(), &depth.records) {
        report.figure(&name, figure);
    }
    study.write(&report)?;
    study.finish();
    Ok(Outcome::Complete)
}

impl Options {
    /// Prompts of one length: text, and random tokens.
    fn prompts(&self, model: &LoadedModel, length: NonZeroUsize) -> Result<Prompts, Failure> {
        let text = self.prompts.text(model, self.count.get(), length)?;
        let random = self.prompts.random(model, self.random.unwrap_or(text.len()), length)?;
        let text = text.into_iter().map(|ids| (Kind::Text, ids));
        let all: Prompts = text.chain(random.into_iter().map(|ids| (Kind::Random, ids))).collect();
        if all.is_empty() {
            return Err(Failure::new(format!("no prompt has {length} tokens")));
        }
        Ok(all)
    }

    /// Everything that the results depend on.
    fn about(&self, model: &LoadedModel, prompts: &BTreeMap<usize, Prompts>) -> Result<Description, Failure> {
        let ids: Vec<Vec<u32>> = prompts.values().flatten().map(|(_, ids)| ids.clone()).collect();
        let dependencies = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "model": model.weight_hash()?,
            "device": self.model.device.device.to_string(), "prompts": fingerprint(&ids), "policy": self.policy,
            "format": self.format, "noise_share": self.noise_share, "margin_rivals": self.margin_rivals,
        });
        Ok(Description::new(StudyName::Depth, dependencies).computed_by(&model.decoder))
    }
}

fn at_tap(
    options: &Options,
    model: &LoadedModel,
    tap: Tap,
    prompts: &Prompts,
    done: &mut dyn FnMut(f64),
) -> Result<Vec<Record>, Failure> {
    let start = Instant::now();
    let inverter = inverter::prepared(&model.decoder, tap, options.policy.settings()?)?;
    let choice = options.policy.choose(model, tap, prompts[0].1.len())?;
    let mut searcher = inverter.searcher(&choice.policy);
    let ready_seconds = start.elapsed().as_secs_f64();
    let mut records = Vec::with_capacity(prompts.len());
    for (number, (kind, prompt)) in prompts.iter().enumerate() {
        done(number as f64 / prompts.len() as f64);
        let (mut states, dtype) = stored(options.format, &prompt_states(&model.decoder, prompt, tap)?);
        let mut noise = 0.0;
        let mut noisy = None;
        if let Some(share) = options.noise_share {
            let clean = TargetStates::new(states.clone(), tap, dtype)?;
            let margin = least_margin(&inverter, &clean, &mut searcher, options.margin_rivals)?;
            noise = share * margin.ok_or_else(|| Failure::new("no margin was measured"))?;
            Disturbance::Noise { norm: noise }.apply(&mut states, number as u64);
            let policy = PolicyOptions { noise, ..options.policy.clone() };
            noisy = Some(inverter.with_settings(policy.settings()?)?);
        }
        let inverter = noisy.as_ref().unwrap_or(&inverter);
        let target = TargetStates::new(states, tap, dtype)?;
        let forward = forward_seconds(&model.decoder, prompt, tap)?;
        let start = Instant::now();
        let inversion = inverter.invert(&target, &mut searcher, &mut |_| crate::interrupt::check())?;
        let seconds = Seconds { inversion: start.elapsed().as_secs_f64(), forward, ready: ready_seconds };
        records.push(Record::new(*kind, tap, prompt, &inversion, seconds, noise));
    }
    Ok(records)
}

/// States as a format holds them.
fn stored(format: FileFormat, states: &States) -> (Array2<f64>, FloatFormat) {
    let mut states = states.to_f64().into_array();
    if format != FileFormat::F32 {
        Rounding::from(FloatFormat::from(format)).round(&mut states);
    }
    (states, format.into())
}
