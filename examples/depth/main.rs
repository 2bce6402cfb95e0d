//! Time, forward-pass equivalents and margins of inversion, against tap and against prompt length.
//!
//! ```text
//! cargo run --release --example depth -- --model FOLDER --lens DIR --prompts FILE.jsonl --taps all --out DIR
//! cargo run --release --example depth -- --model FOLDER --lens DIR --prompts FILE.jsonl --taps block-15 --lengths 32,64,128,256,512 --out DIR
//! ```
//!
//! Prompts are cut to the length asked for; as many again are drawn uniformly from the vocabulary. Every prompt's states are
//! computed, rounded to `--format`, with `--noise-share` disturbed, the prompt is forgotten, recovered, and only then compared.
//!
//! It prints a line for each length, tap and kind of prompt. `--out` takes depth.csv and depth.json with every prompt, and the plots
//! time-by-tap, equivalents-by-tap and margins-by-tap where several taps are asked for, and time-by-length, equivalents-by-length
//! and margins-by-length where several lengths are, each as .svg and .png. A margin is the distance of the nearest other token tested over
//! the noise floor, the least over the positions; a prompt at no position of which another token was tested has none.

mod figures;
mod report;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::ProgressBar;
use inject_examples::{Failure, ModelArgs, PolicyArgs, PromptArgs, finish, forward_seconds, say};
use inject_sipit::{
    Inverter, TargetStates,
    models::{Model, Tap},
    states::{Disturbance, Extraction, StateFormat, foreign::SourceDtype, store::Positions},
};
use inject_studies::least_margin;
use ndarray::Array2;

use report::{Kind, Record};

/// Measures inversion against tap and prompt length.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// How many prompts of text at each tap and length
    #[arg(long, default_value_t = 10)]
    count: usize,
    /// How many prompts of random tokens [default: as many]
    #[arg(long)]
    random: Option<usize>,
    /// The taps
    #[arg(long, default_value = "all")]
    taps: String,
    /// The lengths, in tokens
    #[arg(long, value_delimiter = ',', default_value = "64")]
    lengths: Vec<usize>,
    /// Number format in which the states are given to the inverter
    #[arg(long, value_enum, default_value_t = Format::F32)]
    format: Format,
    /// Add Gaussian noise of this share of the prompt's least margin to every state; the margin is that among
    /// --margin-rivals candidates at each position
    #[arg(long, value_name = "SHARE")]
    noise_share: Option<f64>,
    /// Candidates by which the margin is measured for --noise-share
    #[arg(long, default_value_t = 256)]
    margin_rivals: usize,
    /// The folder for depth.csv, depth.json and the plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A number format of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them significant.
    F16,
    /// 16 bits, 8 of them significant.
    Bf16,
}

#[allow(dead_code, reason = "the tests take the program in without its entry")]
fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let taps = Tap::parse_list(&options.taps, model.decoder.config().n_layers())?;
    let mut records = Vec::new();
    say(report::HEADING)?;
    for &length in &options.lengths {
        let prompts = prompts(options, &model, length)?;
        if prompts.is_empty() {
            return Err(Failure::new(format!("no prompt has {length} tokens")));
        }
        for &tap in &taps {
            let rows = at_tap(options, &model, tap, &prompts)?;
            for line in report::lines(&rows) {
                say(&line)?;
            }
            records.extend(rows);
        }
    }
    match &options.out {
        None => Ok(()),
        Some(folder) => report::write(folder, &model.origin().id, &records),
    }
}

/// Text and code cut to so many tokens, and prompts of random tokens.
fn prompts(options: &Options, model: &Model, length: usize) -> Result<Vec<(Kind, Vec<u32>)>, Failure> {
    let text = options.prompts.text(model, options.count, length)?;
    let random = options.prompts.random(model, options.random.unwrap_or(text.len()), length)?;
    let text = text.into_iter().map(|ids| (Kind::Text, ids));
    Ok(text.chain(random.into_iter().map(|ids| (Kind::Random, ids))).collect())
}

fn at_tap(
    options: &Options,
    model: &Model,
    tap: Tap,
    prompts: &[(Kind, Vec<u32>)],
) -> Result<Vec<Record>, Failure> {
    let start = Instant::now();
    let inverter = Inverter::new(&model.decoder, tap, options.policy.settings()?)?;
    let mut choice = options.policy.choose(model, tap, prompts[0].1.len())?;
    let ready_seconds = start.elapsed().as_secs_f64();
    let bar = ProgressBar::new(prompts.len() as u64).with_message(tap.to_string());
    let mut records = Vec::with_capacity(prompts.len());
    for (number, (kind, prompt)) in prompts.iter().enumerate() {
        let extraction = Extraction::new(vec![tap], Positions::All)?;
        let mut states = extraction.run(&model.decoder, std::slice::from_ref(prompt), &mut |_| ())?;
        let states = states.remove(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
        let (mut states, dtype) = options.format.stored(&states);
        let mut noise = 0.0;
        let mut noisy = None;
        if let Some(share) = options.noise_share {
            let clean = TargetStates::new(states.clone(), tap, dtype)?;
            let margin = least_margin(&inverter, &clean, &mut choice.policy, options.margin_rivals)?;
            noise = share * margin.ok_or_else(|| Failure::new("no margin was measured"))?;
            Disturbance::Noise { norm: noise }.apply(&mut states, number as u64);
            noisy = Some(Inverter::new(
                &model.decoder,
                tap,
                PolicyArgs { noise, ..options.policy.clone() }.settings()?,
            )?);
        }
        let inverter = noisy.as_ref().unwrap_or(&inverter);
        let target = TargetStates::new(states, tap, dtype)?;
        let forward_seconds = forward_seconds(&model.decoder, prompt, tap)?;
        let start = Instant::now();
        let inversion = inverter.invert(&target, &mut choice.policy, &mut |_| ())?;
        let seconds = start.elapsed().as_secs_f64();
        let seconds = report::Seconds { inversion: seconds, forward: forward_seconds, ready: ready_seconds };
        records.push(Record::new(*kind, tap, prompt, &inversion, seconds, noise));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(records)
}

impl Format {
    /// States as this format holds them.
    fn stored(self, states: &Array2<f32>) -> (Array2<f64>, SourceDtype) {
        let mut states = states.mapv(f64::from);
        let format = match self {
            Format::F32 => return (states, SourceDtype::F32),
            Format::F16 => StateFormat::F16,
            Format::Bf16 => StateFormat::Bf16,
        };
        format.round(&mut states);
        (states, format.dtype())
    }
}
