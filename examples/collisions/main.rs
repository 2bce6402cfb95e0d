//! The random-corpus study: how close do the states of many different prompts come, at each tap?
//!
//! ```text
//! cargo run --release --example collisions
//! cargo run --release --example collisions -- --model FOLDER --prompts prompts.jsonl --count 100000 --out DIR
//! ```
//!
//! Killed and run again with the same options, it goes on where it stopped. `--against corpus.json` compares with the study of
//! another model.

mod report;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;
use inject_examples::{Failure, ModelArgs, PromptArgs, StudyArgs, finish, note, say, spec_of};
use inject_sipit::{
    collisions::{Metric, measure_noise_floors},
    models::Tap,
    states::{Extraction, extract_to_store, store::Positions},
};
use inject_studies::{CorpusStudy, Nearest, TapOptions, between_models, corpus};
use inject_testing::DeviceKind;

/// Measures the distances between the states of all pairs of many prompts.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    study: StudyArgs,
    /// How many different prompts
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Tokens kept of each prompt, at most
    #[arg(long, default_value_t = 128)]
    longest: usize,
    /// `all`, or a list such as `embedding,block-7,final-norm`
    #[arg(long, default_value = "all")]
    taps: String,
    /// Where the states are stored [default: OUT/states]
    #[arg(long, value_name = "STORE")]
    states: Option<PathBuf>,
    /// How many of the closest pairs are listed for each tap
    #[arg(long, default_value_t = 10)]
    closest: usize,
    /// Only the closest pairs of all, not every prompt's nearest neighbour
    #[arg(long)]
    minima_only: bool,
    /// Cosine distance instead of L2
    #[arg(long)]
    cosine: bool,
    /// Prompts computed again for the noise floor
    #[arg(long, default_value_t = 16)]
    noise_sample: usize,
    /// Measure the noise floor against this device too: flex, ndarray, cuda or wgpu, as far as compiled in
    #[arg(long, value_name = "DEVICE")]
    noise_device: Option<DeviceKind>,
    /// The corpus.json of another model, to compare with
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Megabytes that one batch or one search may take
    #[arg(long, default_value_t = 1024)]
    memory: usize,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let decoder = &model.decoder;
    let n_layers = decoder.config().n_layers();
    let taps = Tap::parse_list(&options.taps, n_layers)?;
    let longest = options.longest.min(decoder.config().max_len().unwrap_or(usize::MAX));
    let prompts = options.prompts.different(&model, options.count, longest)?;
    note(&format!("{} different prompts, {} taps", prompts.len(), taps.len()));
    if prompts.len() < 2 {
        return Err(Failure::new(format!(
            "{} different prompts: a distance needs at least two",
            prompts.len()
        )));
    }

    let memory_budget = options.memory << 20;
    let extraction = Extraction::new(taps.clone(), Positions::Last)?.with_memory_budget(memory_budget);
    let states = options.states.clone().unwrap_or_else(|| options.study.out.join("states"));
    let spec = spec_of(&model, &options.prompts, taps.clone())?;
    let store = extract_to_store(&extraction, decoder, &prompts, &states, spec, &mut |_| ())?;
    let elsewhere = options
        .noise_device
        .map(|device| ModelArgs { device, ..options.model.clone() }.load())
        .transpose()?;
    let elsewhere = elsewhere.as_ref().map(|model| &model.decoder);
    let metric = if options.cosine { Metric::Cosine } else { Metric::L2 };
    let noise = measure_noise_floors(metric, decoder, elsewhere, &taps, &prompts, options.noise_sample)?;
    let tap_options = TapOptions {
        metric,
        closest: options.closest,
        nearest: if options.minima_only { Nearest::Skipped } else { Nearest::Searched },
        memory_budget,
        ..TapOptions::default()
    };
    let tokenizer = model.tokenizer().ok();
    let study = options.study.carry_out("corpus", |run| {
        corpus(&store, n_layers, &taps, &noise, tokenizer, &tap_options, &decoder.device(), run)
    })?;
    report::write(&study, &options.study.out)?;
    if let Some(path) = &options.against {
        let other: CorpusStudy = serde_json::from_str(&fs::read_to_string(path)?)?;
        let compared = between_models(&study, &other);
        fs::write(options.study.out.join("between_models.json"), serde_json::to_string_pretty(&compared)?)?;
    }
    if options.study.json { Ok(()) } else { say(&report::table(&study)) }
}
