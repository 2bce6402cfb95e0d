//! Trainings as tables and figures.

use inject_sipit::models::Tap;
use inject_studies::training::{Optimiser, Snapshot, TapSnapshot};

use super::run::{Training, Trainings};
use crate::{
    number,
    plot::{Axis, Figure, Mark, distinct},
    report::Report,
    table::{Cell, Table},
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
    let headings = [
        "step",
        "loss",
        "held out",
        "closest pair",
        "noise floor",
        "margin least",
        "margin median",
        "recovered",
        "prompts",
    ];
    let mut table = Table::new(title, &headings);
    for snapshot in &study.snapshots {
        let tap = at(snapshot, last);
        let exact: usize = snapshot.inversions.iter().map(|tally| tally.exact).sum();
        let prompts: usize = snapshot.inversions.iter().map(|tally| tally.prompts).sum();
        table.push([
            snapshot.step.into(),
            snapshot.loss.into(),
            snapshot.held_out_loss.into(),
            tap.map(|tap| tap.closest.minimum).into(),
            tap.and_then(|tap| tap.closest.noise.largest()).into(),
            tap.and_then(|tap| tap.margins.quantile(0.0)).into(),
            tap.and_then(|tap| tap.margins.quantile(0.5)).into(),
            exact.into(),
            prompts.into(),
        ]);
    }
    table
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
    let headings = [
        "model",
        "activation",
        "optimiser",
        "learning rate",
        "step",
        "loss",
        "held out loss",
        "tap",
        "closest pair",
        "noise",
        "resolution",
        "least margin",
        "margin 05",
        "median margin",
        "largest margin",
        "margin noise",
        "margin resolution",
        "inverted",
        "recovered",
    ];
    let mut table = Table::new("Every tap of every snapshot", &headings);
    for run in &trainings.runs {
        let optimiser = run.study.options.optimiser;
        for snapshot in &run.study.snapshots {
            for TapSnapshot { closest, margins, .. } in &snapshot.taps {
                let tally = snapshot.inversions.iter().find(|tally| tally.tap == closest.tap);
                table.push([
                    Cell::of(&run.model),
                    Cell::of(run.activation),
                    Cell::of(optimiser),
                    optimiser.learning_rate().into(),
                    snapshot.step.into(),
                    snapshot.loss.into(),
                    snapshot.held_out_loss.into(),
                    Cell::of(closest.tap),
                    closest.minimum.into(),
                    closest.noise.largest().into(),
                    Cell::of(closest.resolution),
                    margins.quantile(0.0).into(),
                    margins.quantile(0.05).into(),
                    margins.quantile(0.5).into(),
                    margins.quantile(1.0).into(),
                    margins.noise.largest().into(),
                    Cell::of(margins.resolution),
                    tally.map_or(Cell::Missing, |tally| tally.prompts.into()),
                    tally.map_or(Cell::Missing, |tally| tally.exact.into()),
                ]);
            }
        }
    }
    table
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
