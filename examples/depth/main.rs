//! Time, forward-pass equivalents and candidates of inversion, against tap and against prompt length.
//!
//! ```text
//! cargo run --release --example depth -- --model FOLDER --lens DIR --prompts FILE.jsonl --taps all --out DIR
//! cargo run --release --example depth -- --model FOLDER --lens DIR --prompts FILE.jsonl --taps block-15 --lengths 32,64,128,256,512 --out DIR
//! ```
//!
//! Prompts are cut to the length asked for; as many again are drawn uniformly from the vocabulary. Every prompt's states are
//! computed, the prompt is forgotten, recovered, and only then compared.

mod report;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::ProgressBar;
use inject_examples::{Failure, ModelArgs, PolicyArgs, RandomTokens, finish, forward_seconds, say};
use inject_sipit::{
    Bos, Extraction, Inverter, Model, Tap, TargetStates,
    foreign::SourceDtype,
    prompts::{generate::Generator, read_prompts},
    store::Positions,
};

use report::{Kind, Record};

/// Measures inversion against tap and prompt length.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Prompts to cut to length (.txt, .jsonl, .parquet) [default: the project's own generated text]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Prompts of the file to pass over: those a lens was made from
    #[arg(long, default_value_t = 0)]
    skip: usize,
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
    /// Whether BOS stands before each prompt: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    bos: Bos,
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

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
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

/// Text and code cut to so many tokens, and as many prompts of random tokens.
fn prompts(options: &Options, model: &Model, length: usize) -> Result<Vec<(Kind, Vec<u32>)>, Failure> {
    let tokenizer = model.tokenizer()?;
    let texts: Box<dyn Iterator<Item = Result<String, Failure>>> = match &options.prompts {
        None => Box::new(Generator::new(0xdeb7).map(Ok)),
        Some(path) => Box::new(read_prompts(path)?.into_iter().skip(options.skip).map(Ok)),
    };
    let mut prompts: Vec<(Kind, Vec<u32>)> = Vec::new();
    // A text shorter than the length goes on with the next one.
    let mut open: Vec<u32> = Vec::new();
    for text in texts {
        let ids = tokenizer.encode(&text?, if open.is_empty() { options.bos } else { Bos::No })?;
        open.extend(ids);
        if open.len() >= length {
            open.truncate(length);
            prompts.push((Kind::Text, std::mem::take(&mut open)));
        }
        if prompts.len() == options.count {
            break;
        }
    }
    let first = prompts.first().map(|(_, ids)| ids[0]).filter(|_| tokenizer.begins_with_bos(&prompts[0].1));
    let mut tokens = RandomTokens::seeded(0x5eed + length as u64, model.decoder.config().vocab_size);
    for _ in 0..options.random.unwrap_or(prompts.len()) {
        let mut ids: Vec<u32> = tokens.by_ref().take(length).collect();
        if let Some(bos) = first {
            ids[0] = bos;
        }
        prompts.push((Kind::Random, ids));
    }
    Ok(prompts)
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
    for (kind, prompt) in prompts {
        let extraction = Extraction::new(vec![tap], Positions::All)?;
        let mut states = extraction.run(&model.decoder, std::slice::from_ref(prompt), &mut |_| ())?;
        let states = states.remove(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
        let (states, dtype) = match options.format {
            Format::F32 => (states.mapv(f64::from), SourceDtype::F32),
            Format::F16 => (states.mapv(|v| half::f16::from_f32(v).to_f64()), SourceDtype::F16),
            Format::Bf16 => (states.mapv(|v| half::bf16::from_f32(v).to_f64()), SourceDtype::BF16),
        };
        let target = TargetStates::new(states, tap, dtype)?;
        let forward_seconds = forward_seconds(&model.decoder, prompt, tap)?;
        let start = Instant::now();
        let inversion = inverter.invert(&target, &mut choice.policy, &mut |_| ())?;
        let seconds = start.elapsed().as_secs_f64();
        records.push(Record::new(*kind, tap, prompt, &inversion, seconds, forward_seconds, ready_seconds));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(records)
}
