//! One-step margins and lengths: how far is the true token's state from every other's, and how do distances grow with length?
//!
//! ```text
//! cargo run --release --example margins
//! cargo run --release --example margins -- --model FOLDER --prompts prompts.jsonl --count 20 --taps block-1,block-15,block-30
//! ```
//!
//! Killed and run again with the same options, it goes on where it stopped.

use std::process::ExitCode;

use clap::Parser;
use inject_examples::{Axis, Failure, Figure, Mark, ModelArgs, PromptArgs, StudyArgs, finish, say};
use inject_sipit::models::{Tap, WeightFormat};
use inject_studies::{LengthStudy, MarginOptions, MarginStudy, Quantile, lengths, margins};

/// Measures one-step margins, and distances against length.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    study: StudyArgs,
    /// Round the weights to this format first: f16, bf16, int8, int4, nf4 or fp4
    #[arg(long, value_name = "FORMAT")]
    weights: Option<WeightFormat>,
    /// Prompts whose margins are measured
    #[arg(long, default_value_t = 20)]
    count: usize,
    /// Tokens kept of each of them, at most
    #[arg(long, default_value_t = 32)]
    longest: usize,
    /// Every so many positions are measured
    #[arg(long, default_value_t = 4)]
    every: usize,
    /// Lengths at which distances are measured
    #[arg(long, value_delimiter = ',', default_value = "2,4,8,16,32")]
    lengths: Vec<usize>,
    /// Prompts of each length
    #[arg(long, default_value_t = 300)]
    per_length: usize,
    /// `all`, or a list such as `embedding,block-7,final-norm`
    #[arg(long, default_value = "all")]
    taps: String,
    /// Megabytes that one batch may take
    #[arg(long, default_value_t = 512)]
    memory: usize,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let mut model = options.model.load()?;
    if let Some(format) = options.weights {
        model.decoder = model.decoder.with_weights_in(format)?;
    }
    let taps = Tap::parse_list(&options.taps, model.decoder.config().n_layers())?;
    let hash = match options.weights {
        None => model.weight_hash()?,
        Some(format) => format!("{} as {format}", model.weight_hash()?),
    };
    let prompts = options.prompts.different(&model, options.count, options.longest)?;
    let asked = MarginOptions {
        taps: taps.clone(),
        first: 1,
        every: options.every,
        memory_budget: options.memory << 20,
    };
    let found =
        options.study.carry_out("margins", |run| margins(&model.decoder, &hash, &prompts, &asked, run))?;
    let by_tap = |value: fn(&inject_studies::TapMargins) -> f64| {
        found.taps.iter().enumerate().map(move |(i, tap)| (i as f64, value(tap)))
    };
    let names = found.taps.iter().map(|tap| tap.tap.to_string());
    Figure::new("One-step margins", Axis::columns("tap", names), Axis::log("L2 distance"))
        .with("smallest", Mark::Line, by_tap(|tap| least(&tap.margins)))
        .with("median", Mark::Line, by_tap(|tap| median(&tap.margins)))
        .with("noise floor", Mark::Line, by_tap(|tap| tap.noise.largest()))
        .write(&options.study.out, "margins")?;

    let longest = options.lengths.iter().copied().max().unwrap_or(1);
    let long = options.prompts.text(&model, options.per_length, longest)?;
    let by_length = options.study.carry_out("lengths", |run| {
        lengths(&model.decoder, &hash, &long, &options.lengths, options.per_length, &taps, run)
    })?;
    if let Some(&tap) = taps.last() {
        figure(&by_length, tap).write(&options.study.out, "lengths")?;
    }
    if options.study.json { Ok(()) } else { say(&[table(&found), length_table(&by_length)].join("\n\n")) }
}

fn least(quantiles: &[Quantile]) -> f64 {
    Quantile::upper_at(quantiles, 0.0).unwrap_or(f64::NAN)
}

fn median(quantiles: &[Quantile]) -> f64 {
    Quantile::upper_at(quantiles, 0.5).unwrap_or(f64::NAN)
}

fn figure(study: &LengthStudy, tap: Tap) -> Figure {
    let points = |value: fn(&inject_studies::Spread) -> f64| {
        study.lengths.iter().filter_map(move |at| Some((at.length as f64, value(at.taps.get(&tap)?))))
    };
    Figure::new(
        format!("Distances against length, {tap}"),
        Axis::log("prompt length (tokens)"),
        Axis::log("L2 distance"),
    )
    .with("minimum", Mark::Line, points(|spread| spread.minimum))
    .with("mean", Mark::Line, points(|spread| spread.mean))
    .with("maximum", Mark::Line, points(|spread| spread.maximum))
    .with("noise floor", Mark::Line, points(|spread| spread.noise.largest()))
}

fn table(study: &MarginStudy) -> String {
    let mut lines = vec![format!(
        "one-step margins against {} other tokens\n{:<12} {:>9} {:>10} {:>10} {:>10} {:>10}  verdict",
        study.others, "tap", "positions", "smallest", "median", "of norm", "noise"
    )];
    lines.extend(study.taps.iter().map(|tap| {
        format!(
            "{:<12} {:>9} {:>10.3e} {:>10.3} {:>9.1}% {:>10.1e}  {}",
            tap.tap.to_string(),
            tap.steps.len(),
            least(&tap.margins),
            median(&tap.margins),
            100.0 * median(&tap.relative),
            tap.noise.largest(),
            tap.verdict
        )
    }));
    lines.join("\n")
}

fn length_table(study: &LengthStudy) -> String {
    let mut lines = vec![format!(
        "{:>6} {:>7} {:<12} {:>10} {:>10} {:>10} {:>10}  verdict",
        "length", "prompts", "tap", "minimum", "mean", "maximum", "noise"
    )];
    for at in &study.lengths {
        lines.extend(at.taps.iter().map(|(tap, spread)| {
            format!(
                "{:>6} {:>7} {:<12} {:>10.3e} {:>10.3} {:>10.3} {:>10.1e}  {}",
                at.length,
                at.prompts,
                tap.to_string(),
                spread.minimum,
                spread.mean,
                spread.maximum,
                spread.noise.largest(),
                spread.verdict
            )
        }));
    }
    lines.join("\n")
}
