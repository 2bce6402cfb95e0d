//! The inversion benchmark of arXiv 2510.15511 (its table of methods, times and accuracies), over the policies there are here.
//!
//! ```text
//! cargo run --release --example compare_policies
//! cargo run --release --example compare_policies -- --model FOLDER_OR_HUB_ID --lens DIR --prompts FILE.jsonl --out DIR
//! ```
//!
//! As in the paper, prompts have 20 tokens, nine in ten are text and one is random tokens, and states are read at one tap.
//! Every policy is given the same states, one policy after the other, and begins anew at each prompt unless its name says
//! otherwise. Unlike in the paper, the time for each prompt is bounded, since its baselines take an hour a prompt and more:
//! what is out of budget is reported as such. Nothing is compared with the prompts before all inversions are done.

mod contender;
mod record;
mod report;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Failure, ModelArgs, PromptArgs, finish, forward_seconds, say};
use inject_sipit::{
    Inversion, Inverter, TargetStates,
    models::{Model, Tap},
    states::{Extraction, foreign::SourceDtype, store::Positions},
};

use contender::{Contender, Terms};
use record::{Kind, Measured, Prompt};
use report::{About, Report};

/// Compares the policies of inversion on the same states.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// How many prompts
    #[arg(long, default_value_t = 20)]
    count: usize,
    /// How many of them are random tokens [default: a tenth, rounded]
    #[arg(long)]
    random: Option<usize>,
    /// Tokens of each prompt
    #[arg(long, default_value_t = 20)]
    length: usize,
    /// Where the states are read [default: the middle block]
    #[arg(long)]
    tap: Option<Tap>,
    /// The policies [default: all; with a lens only if there is --lens]
    #[arg(long, value_enum, value_delimiter = ',')]
    policies: Vec<Contender>,
    /// The folder with the model's lenses, as the lens program writes them
    #[arg(long, value_name = "DIR")]
    lens: Option<PathBuf>,
    /// Seconds a policy may spend on each prompt
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    budget_seconds: f64,
    /// The seed of the policies that draw lots; each prompt adds its number
    #[arg(long, default_value_t = 8)]
    seed: u64,
    /// The folder for compare.csv, compare.json and the figure
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let n_layers = model.decoder.config().n_layers();
    let tap = options.tap.unwrap_or(Tap::Block(n_layers.div_ceil(2))).checked(n_layers)?;
    let prompts = prompts(options, &model)?;
    let targets = targets(&model, tap, &prompts)?;
    let terms = Terms {
        model: &model,
        tap,
        positions: options.length,
        lens: options.lens.as_deref(),
        budget_seconds: options.budget_seconds,
        seed: options.seed,
    };
    let contenders = contenders(options);
    for contender in &contenders {
        // A lens that is missing is missed now, not behind the slow policies.
        contender.choice(&terms, 0)?;
    }
    let about = About {
        model: model.origin().id.clone(),
        device: options.model.device.to_string(),
        tap,
        vocab_size: model.decoder.config().vocab_size,
        tokens: options.length,
        budget_seconds: options.budget_seconds,
        seed: options.seed,
        prompt_seed: options.prompts.prompt_seed,
        forward_seconds: forward_seconds(&model.decoder, &prompts[0].token_ids, tap)?,
    };
    say(&about.heading(&prompts, contenders.len()))?;
    let measured = contenders.into_iter().map(|contender| measure(&terms, contender, &targets));
    let measured = measured.collect::<Result<Vec<Measured>, Failure>>()?;
    let report = Report::new(about, prompts, &measured);
    say(&report.table())?;
    match &options.out {
        None => Ok(()),
        Some(folder) => report.write(folder),
    }
}

fn contenders(options: &Options) -> Vec<Contender> {
    if !options.policies.is_empty() {
        return options.policies.clone();
    }
    let possible = |contender: &Contender| options.lens.is_some() || *contender != Contender::Lens;
    Contender::ALL.into_iter().filter(possible).collect()
}

/// Text, and behind it random tokens.
fn prompts(options: &Options, model: &Model) -> Result<Vec<Prompt>, Failure> {
    let random = options.random.unwrap_or((options.count + 5) / 10);
    let Some(text) = options.count.checked_sub(random) else {
        let count = options.count;
        return Err(Failure::new(format!("--random {random} of {count} prompts: expected at most as many")));
    };
    if options.count == 0 || options.length == 0 {
        return Err(Failure::new("--count and --length: expected at least 1"));
    }
    let found = options.prompts.text(model, text, options.length)?;
    if found.len() < text {
        let (found, length) = (found.len(), options.length);
        return Err(Failure::new(format!(
            "the text gives {found} prompts of {length} tokens, expected {text}"
        )));
    }
    let random = options.prompts.random(model, random, options.length)?;
    let text = found.into_iter().map(|token_ids| Prompt { kind: Kind::Text, token_ids });
    Ok(text.chain(random.into_iter().map(|token_ids| Prompt { kind: Kind::Random, token_ids })).collect())
}

fn targets(model: &Model, tap: Tap, prompts: &[Prompt]) -> Result<Vec<TargetStates>, Failure> {
    let extraction = Extraction::new(vec![tap], Positions::All)?;
    let target = |prompt: &Prompt| {
        let ids = std::slice::from_ref(&prompt.token_ids);
        let mut states = extraction.run(&model.decoder, ids, &mut |_| ())?;
        let states = states.remove(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
        Ok(TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32)?)
    };
    prompts.iter().map(target).collect()
}

/// One policy on all prompts, which it does not know.
fn measure(terms: &Terms<'_>, contender: Contender, targets: &[TargetStates]) -> Result<Measured, Failure> {
    let start = Instant::now();
    let inverter = Inverter::new(&terms.model.decoder, terms.tap, contender.settings(terms)?)?;
    let mut choice = contender.choice(terms, 0)?;
    let ready_seconds = start.elapsed().as_secs_f64();
    let bar = ProgressBar::new(targets.len() as u64).with_message(contender.label());
    let style = ProgressStyle::with_template("{msg:>32} {bar:30} {pos}/{len} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut inversions: Vec<(Inversion, f64)> = Vec::with_capacity(targets.len());
    for (number, target) in targets.iter().enumerate() {
        if number > 0 && !contender.learns_between_prompts() {
            choice = contender.choice(terms, number)?;
        }
        let start = Instant::now();
        let inversion = inverter.invert(target, &mut choice.policy, &mut |_| ())?;
        inversions.push((inversion, start.elapsed().as_secs_f64()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let policy = choice.policy.to_string();
    Ok(Measured { contender, policy, reason: choice.reason, ready_seconds, inversions })
}
