//! `inject study margins`: how far is the true token's state from every other's, and how do distances depend on length?

use std::num::NonZeroUsize;

use clap::Args;
use inject_sipit::models::{NumberFormat, Tap};
use inject_studies::{
    ChosenPositions, StudyName, lengths,
    lengths::{DistanceSpread, LengthOptions, LengthStudy},
    margins,
    margins::{MarginOptions, MarginStudy, TapMargins},
};

use super::quantile;
use crate::{
    number::{self, counted},
    options::{Megabytes, ModelOptions, PromptOptions, StudyOptions, TapsOption, room},
    outcome::Failure,
    plot::{Axis, Figure, Mark},
    report::Report,
    table::{Cell, Table, rows},
};

/// Measure one-step margins, and distances against prompt length
#[derive(Args, Debug)]
#[command(
    long_about = "Measure one-step margins, and distances against prompt length.\n\n\
The margin of a position is the distance from the true token's state to that of the nearest other token after the same \
prefix.",
    after_help = "\
Examples:
  inject study margins --count 5 --taps block-1,block-5
  inject study margins --model FOLDER --prompts prompts.jsonl --lengths 2,8,32 --out margins

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// Round the weights to this format first: f16, bf16, int8, q8_0, int4, nf4, fp4, q4_0 or q4_1
    #[arg(long, value_name = "FORMAT")]
    weights: Option<NumberFormat>,
    /// Measure the margin at every NUMBER-th position
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    every: NonZeroUsize,
    #[command(flatten)]
    study: StudyOptions,
    /// The number of prompts to measure margins on
    #[arg(long, value_name = "COUNT", default_value = "20", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// The most tokens to keep of each prompt
    #[arg(long, value_name = "TOKENS", default_value = "32", help_heading = "Prompts")]
    longest: NonZeroUsize,
    /// The prompt lengths in tokens at which distances are measured
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "2,4,8,16,32",
        help_heading = "Prompts"
    )]
    lengths: Vec<NonZeroUsize>,
    /// The number of prompts of each length
    #[arg(long, value_name = "COUNT", default_value = "300", help_heading = "Prompts")]
    per_length: NonZeroUsize,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one batch may take. If given, a prompt that needs more is refused [default: 512]
    #[arg(long, value_name = "MB")]
    memory: Option<Megabytes>,
}

/// Runs both studies.
///
/// # Errors
///
/// [`Failure`] if there are too few prompts, or something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.study.check_prompts(&options.prompts, 2)?;
    let study = options.study.begin("margins", &[StudyName::Margins, StudyName::Lengths])?;
    let mut model = options.model.load()?;
    let mut hash = model.weight_hash()?.to_owned();
    if let Some(format) = options.weights {
        model = model.map_decoder(|decoder| decoder.with_weights_in(format))?;
        hash = format!("{hash} as {format}");
    }
    let taps = options.taps.of(&model)?;
    let prompts = options.prompts.different(&model, options.count.get(), options.longest)?;
    let lens: Vec<usize> = options.lengths.iter().map(|length| length.get()).collect();
    let longest = options.lengths.iter().copied().max().unwrap_or(NonZeroUsize::MIN);
    let long = options.prompts.text(&model, options.per_length.get(), longest)?;
    if long.len() < 2 {
        let found = counted(long.len(), "different prompt");
        return Err(Failure::new(format!("{found} of {longest} tokens, expected at least 2")));
    }
    let lens_of_all = prompts.iter().chain(&long).map(Vec::len);
    room::check_longest(&model.decoder, taps.len(), 0, lens_of_all, options.memory)?;
    let positions = ChosenPositions::new(1, options.every);
    let asked = MarginOptions::new(taps.clone(), positions)
        .with_memory_budget(Megabytes::bytes_or(options.memory, 512 << 20));
    let mut report = Report::new("One-step margins, and distances against length");
    report.fact("Model", model.id());
    report.fact("Weights", &hash);

    let found =
        study.carry_out(StudyName::Margins, |run| margins(&model.decoder, &hash, &prompts, &asked, run))?;
    let table = margin_table(&found);
    study.show(&table.text());
    report.heading("One-step margins");
    report.table("margins", table);
    report.figure("margins", margin_figure(&found));
    study.write(&report)?;

    let asked = LengthOptions::new(taps.clone(), lens, options.per_length.get());
    let by_length =
        study.carry_out(StudyName::Lengths, |run| lengths(&model.decoder, &hash, &long, &asked, run))?;
    let table = length_table(&by_length);
    study.show("");
    study.show(&table.text());
    report.heading("Distances against length");
    report.table("lengths", table);
    if let Some(&tap) = taps.last() {
        report.figure("lengths", length_figure(&by_length, tap));
    }
    study.write(&report)?;
    study.finish();
    Ok(())
}

fn least(tap: &TapMargins) -> Option<f64> {
    quantile(&tap.margins, 0.0)
}

fn median(tap: &TapMargins) -> Option<f64> {
    quantile(&tap.margins, 0.5)
}

fn margin_figure(study: &MarginStudy) -> Figure {
    let by_tap = |value: fn(&TapMargins) -> Option<f64>| {
        study.taps.iter().enumerate().filter_map(move |(i, tap)| Some((i as f64, value(tap)?)))
    };
    let names = study.taps.iter().map(|tap| tap.tap.to_string());
    Figure::new("One-step margins", Axis::columns("tap", names), Axis::log("L2 distance"))
        .with("smallest", Mark::Line, by_tap(least))
        .with("median", Mark::Line, by_tap(median))
        .with("noise floor", Mark::Line, by_tap(|tap| tap.noise.largest()))
}

fn length_figure(study: &LengthStudy, tap: Tap) -> Figure {
    let points = |value: fn(&DistanceSpread) -> Option<f64>| {
        study.lengths.iter().filter_map(move |at| Some((at.length as f64, value(at.taps.get(&tap)?)?)))
    };
    Figure::new(
        format!("Distances against length, {tap}"),
        Axis::log("prompt length (tokens)"),
        Axis::log("L2 distance"),
    )
    .with("minimum", Mark::Line, points(|spread| Some(spread.minimum)))
    .with("mean", Mark::Line, points(|spread| Some(spread.mean)))
    .with("maximum", Mark::Line, points(|spread| Some(spread.maximum)))
    .with("noise floor", Mark::Line, points(|spread| spread.noise.largest()))
}

fn margin_table(study: &MarginStudy) -> Table {
    let title = format!("One-step margins against {} other tokens (L2)", number::count(study.others));
    rows(title, &study.taps).columns([
        ("tap", &|tap| Cell::of(tap.tap)),
        ("positions", &|tap| tap.steps.len().into()),
        ("smallest", &|tap| least(tap).into()),
        ("median", &|tap| median(tap).into()),
        ("median of norm", &|tap| quantile(&tap.relative, 0.5).map_or(Cell::Missing, Cell::Share)),
        ("noise floor", &|tap| tap.noise.largest().into()),
        ("resolution", &|tap| Cell::of(tap.resolution)),
    ])
}

fn length_table(study: &LengthStudy) -> Table {
    let lengths = counted(study.lengths.len(), "length");
    rows(
        format!("Distances of all pairs of prompts of {lengths} (L2)"),
        study.lengths.iter().flat_map(|at| at.taps.iter().map(move |(tap, spread)| (at, tap, spread))),
    )
    .columns([
        ("tokens", &|(at, _, _)| at.length.into()),
        ("prompts", &|(at, _, _)| at.prompts.into()),
        ("tap", &|(_, tap, _)| Cell::of(tap)),
        ("minimum", &|(_, _, spread)| spread.minimum.into()),
        ("mean", &|(_, _, spread)| spread.mean.into()),
        ("maximum", &|(_, _, spread)| spread.maximum.into()),
        ("noise floor", &|(_, _, spread)| spread.noise.largest().into()),
        ("resolution", &|(_, _, spread)| Cell::of(spread.resolution)),
    ])
}
