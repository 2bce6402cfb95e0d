//! Trainings as tables and figures.

use inject_sipit::models::Tap;
use inject_studies::training::{InversionTally, Optimiser, Snapshot, TapSnapshot};

use super::run::{Training, Trainings};
use crate::{
    number,
    plot::{Axis, Figure, Mark, distinct},
    report::Report,
    table::{Cell, Table, rows},
};

/// One line for each snapshot, at the last block.
pub(crate) fn snapshots(training: &Training) -> Table {
    let Training { model, activation, study, n_layers, .. } = training;
    let last = Tap::Block(*n_layers);
    let optimiser = study.options.optimiser;
    let title = format!(
        "{model} ({activation}), {optimiser} with a rate of {}, at {last}",
        optimiser.learning_rate()
    );
    rows(title, study.snapshots.iter().map(|snapshot| (snapshot, at(snapshot, last)))).columns([
        ("step", &|(snapshot, _)| snapshot.step.into()),
        ("loss", &|(snapshot, _)| snapshot.loss.into()),
        ("held out", &|(snapshot, _)| snapshot.held_out_loss.into()),
        ("closest pair", &|(_, tap)| tap.map(|tap| tap.closest.minimum).into()),
        ("noise floor", &|(_, tap)| tap.and_then(|tap| tap.closest.noise.largest()).into()),
        ("margin least", &|(_, tap)| tap.and_then(|tap| tap.margins.quantile(0.0)).into()),
        ("margin median", &|(_, tap)| tap.and_then(|tap| tap.margins.quantile(0.5)).into()),
        ("recovered", &|(snapshot, _)| {
            snapshot.inversions.iter().map(|tally| tally.exact).sum::<usize>().into()
        }),
        ("prompts", &|(snapshot, _)| {
            snapshot.inversions.iter().map(|tally| tally.prompts).sum::<usize>().into()
        }),
    ])
}

fn at(snapshot: &Snapshot, tap: Tap) -> Option<&TapSnapshot> {
    snapshot.taps.iter().find(|found| found.closest.tap == tap)
}

/// Adds the figures and the table of every tap.
pub(crate) fn add(report: &mut Report, trainings: &Trainings) {
    for model in distinct(trainings.runs.iter().map(|run| run.model.as_str())) {
        let runs: Vec<&Training> = trainings.runs.iter().filter(|run| run.model == model).collect();
        for (name, figure) in figures(model, &runs, trainings.about.prompts) {
            report.figure(&format!("{model}-{name}"), figure);
        }
    }
    report.table("training", every_tap(trainings));
}

fn every_tap(trainings: &Trainings) -> Table {
    let taps = trainings.runs.iter().flat_map(|run| {
        let of_run = run.study.snapshots.iter();
        of_run.flat_map(move |snapshot| snapshot.taps.iter().map(move |tap| (run, snapshot, tap)))
    });
    let tally = |snapshot: &Snapshot, tap: &TapSnapshot, count: fn(&InversionTally) -> usize| {
        let found = snapshot.inversions.iter().find(|tally| tally.tap == tap.closest.tap);
        found.map_or(Cell::Missing, |tally| count(tally).into())
    };
    rows("Every tap of every snapshot", taps).columns([
        ("model", &|(run, _, _)| Cell::of(&run.model)),
        ("activation", &|(run, _, _)| Cell::of(run.activation)),
        ("optimiser", &|(run, _, _)| Cell::of(run.study.options.optimiser)),
        ("learning rate", &|(run, _, _)| run.study.options.optimiser.learning_rate().into()),
        ("step", &|(_, snapshot, _)| snapshot.step.into()),
        ("loss", &|(_, snapshot, _)| snapshot.loss.into()),
        ("held out loss", &|(_, snapshot, _)| snapshot.held_out_loss.into()),
        ("tap", &|(_, _, tap)| Cell::of(tap.closest.tap)),
        ("closest pair", &|(_, _, tap)| tap.closest.minimum.into()),
        ("noise", &|(_, _, tap)| tap.closest.noise.largest().into()),
        ("resolution", &|(_, _, tap)| Cell::of(tap.closest.resolution)),
        ("least margin", &|(_, _, tap)| tap.margins.quantile(0.0).into()),
        ("margin 05", &|(_, _, tap)| tap.margins.quantile(0.05).into()),
        ("median margin", &|(_, _, tap)| tap.margins.quantile(0.5).into()),
        ("largest margin", &|(_, _, tap)| tap.margins.quantile(1.0).into()),
        ("margin noise", &|(_, _, tap)| tap.margins.noise.largest().into()),
        ("margin resolution", &|(_, _, tap)| Cell::of(tap.margins.resolution)),
        ("inverted", &|(_, snapshot, tap)| tally(snapshot, tap, |tally| tally.prompts)),
        ("recovered", &|(_, snapshot, tap)| tally(snapshot, tap, |tally| tally.exact)),
    ])
}

/// Loss, closest pair and margins of one model under every rule, and all taps under the first.
fn figures(model: &str, runs: &[&Training], prompts: usize) -> Vec<(&'static str, Figure)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let last = Tap::Block(first.n_layers);
    let prompts = number::count(prompts);
    let first_rule = first.study.options.optimiser;
    let closest = format!("Closest pair of {prompts} prompts, {model}");
    let margins = format!("Least margin between true and other tokens, {model}, {last}");
    let spread = format!("Margins between true and other tokens, {model}, {first_rule}, {last}");
    vec![
        ("loss", loss(model, runs)),
        ("closest", by_rule(&format!("{closest}, {last}"), runs, last, minimum, closest_noise)),
        ("margins", by_rule(&margins, runs, last, |tap| tap.margins.quantile(0.0), margin_noise)),
        ("margin-spread", margin_spread(&spread, first, last)),
        ("taps", by_tap(&format!("{closest}, {first_rule}"), first, last)),
    ]
}

fn minimum(tap: &TapSnapshot) -> Option<f64> {
    Some(tap.closest.minimum)
}

fn closest_noise(tap: &TapSnapshot) -> Option<f64> {
    tap.closest.noise.largest()
}

fn margin_noise(tap: &TapSnapshot) -> Option<f64> {
    tap.margins.noise.largest()
}

fn steps() -> Axis {
    Axis::log("steps taken + 1")
}

fn distance() -> Axis {
    Axis::log("L2 distance of states")
}

fn loss(model: &str, runs: &[&Training]) -> Figure {
    let of_loss = |run: &Training, loss: fn(&Snapshot) -> f64| {
        run.study.snapshots.iter().map(|snapshot| (place(snapshot), loss(snapshot))).collect::<Vec<_>>()
    };
    let mut figure =
        Figure::new(format!("Loss of {model} on generated text"), steps(), Axis::linear("nats a token"));
    for run in runs {
        let rule = rule(run);
        figure = figure.with(rule, Mark::Line, of_loss(run, |snapshot| snapshot.loss)).beside(
            format!("{rule}, held out"),
            Mark::Rings,
            of_loss(run, |snapshot| snapshot.held_out_loss),
        );
    }
    figure
}

/// One value at one tap under every rule, each beside its noise floor.
fn by_rule(
    title: &str,
    runs: &[&Training],
    tap: Tap,
    value: fn(&TapSnapshot) -> Option<f64>,
    noise: fn(&TapSnapshot) -> Option<f64>,
) -> Figure {
    let mut figure = Figure::new(title, steps(), distance());
    for run in runs {
        let rule = rule(run);
        let floor = format!("{rule}, noise floor");
        figure = figure.with(rule, Mark::Line, series(run, tap, value));
        figure = figure.beside(floor, Mark::Rings, series(run, tap, noise));
    }
    figure
}

fn margin_spread(title: &str, run: &Training, tap: Tap) -> Figure {
    let mut figure = Figure::new(title, steps(), distance());
    for (name, share) in [("least", 0.0), ("5th percentile", 0.05), ("median", 0.5), ("largest", 1.0)] {
        figure = figure.with(name, Mark::Line, series(run, tap, |tap| tap.margins.quantile(share)));
    }
    figure.with("noise floor", Mark::Rings, series(run, tap, margin_noise))
}

/// The closest pair at several taps under one rule.
fn by_tap(title: &str, run: &Training, last: Tap) -> Figure {
    let mut figure = Figure::new(title, steps(), distance());
    for tap in distinct([Tap::Block(1), last, Tap::FinalNorm].into_iter()) {
        figure = figure.with(tap.to_string(), Mark::Line, series(run, tap, minimum));
        figure = figure.beside(format!("{tap}, noise floor"), Mark::Rings, series(run, tap, closest_noise));
    }
    figure
}

/// The start has a place on a logarithmic axis only with one step added.
fn place(snapshot: &Snapshot) -> f64 {
    snapshot.step as f64 + 1.0
}

fn series(run: &Training, tap: Tap, value: impl Fn(&TapSnapshot) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |snapshot: &Snapshot| Some((place(snapshot), value(at(snapshot, tap)?)?));
    run.study.snapshots.iter().filter_map(point).collect()
}

/// A short name for a legend.
fn rule(run: &Training) -> &'static str {
    match run.study.options.optimiser {
        Optimiser::FullBatch { .. } => "full batch",
        Optimiser::Sgd { .. } => "SGD",
        Optimiser::Adam { .. } => "Adam",
        _ => "another rule",
    }
}
