//! What was measured, as pictures.

use std::path::Path;

use inject_examples::{Axis, Failure, Figure, Mark, distinct};
use inject_sipit::{models::Tap, states::Disturbance};
use inject_studies::{Condition, DecodingStudy, FormatStudy, Held, RecoveryStudy, TapDecoding};

use crate::tables::quantile;

/// Taps drawn as lines of their own, at most.
const LINES: usize = 6;

/// Closest pairs by tap: one figure for formats of weights, one for states.
pub(crate) fn formats(study: &FormatStudy, model: &str, folder: &Path) -> Result<(), Failure> {
    let taps = distinct(study.formats.iter().map(|found| found.tap));
    let held = distinct(study.formats.iter().map(|found| found.held));
    let points = |held: Held| {
        let of_held = study.formats.iter().filter(move |found| found.held == held);
        of_held.map(|found| (place(&taps, found.tap), found.closest.distance))
    };
    let figure = |what: &str, wanted: fn(Held) -> bool| {
        let title = format!(
            "Closest of {} prompts of {model}, {what} (equal states have no place here)",
            study.prompts
        );
        let mut figure = Figure::new(title, Axis::columns("tap", names(&taps)), Axis::log("L2 distance"));
        for &held in held.iter().filter(|held| wanted(**held)) {
            let name = match held {
                Held::AsComputed => held.to_string(),
                Held::Weights(format) => format.to_string(),
                Held::States(disturbance) => disturbance.to_string(),
            };
            figure = figure.with(name, Mark::Line, points(held));
        }
        let noise = study.formats.iter().filter(|found| found.held == Held::AsComputed);
        figure.with(
            "noise floor",
            Mark::Strokes,
            noise.map(|found| (place(&taps, found.tap), found.noise.largest())),
        )
    };
    figure("weights in narrow formats", |held| !matches!(held, Held::States(_)))
        .write(folder, "closest-weights")?;
    let of_states = |held| matches!(held, Held::AsComputed | Held::States(Disturbance::Rounded(_)));
    figure("states in narrow formats", of_states).write(folder, "closest-states")
}

/// Recovery against noise, the smallest noise that matters by tap, and the share of positions recovered of each view.
pub(crate) fn decoding(study: &DecodingStudy, model: &str, folder: &Path) -> Result<(), Failure> {
    let taps: Vec<Tap> = study.taps.iter().map(|tap| tap.tap).collect();
    let title = format!("Nearest token under noise in random directions, {model}");
    let mut figure = Figure::new(
        title,
        Axis::log("L2 norm of the noise / margin of the position"),
        Axis::linear("share recovered"),
    );
    for tap in spread(&study.taps) {
        let points = tap.survival.iter().map(|at| (at.noise_over_margin, at.recovered));
        figure = figure.with(tap.tap.to_string(), Mark::Line, points);
    }
    figure
        .with("half margin: certain below (Theorem 3.2)", Mark::Line, [(0.5, 0.0), (0.5, 1.0)])
        .write(folder, "recovery-against-noise")?;

    let by_tap = |value: fn(&TapDecoding) -> f64| {
        study.taps.iter().enumerate().map(move |(column, tap)| (column as f64, value(tap)))
    };
    Figure::new(
        format!("The noise that changes the nearest token, {model}"),
        Axis::columns("tap", names(&taps)),
        Axis::log("L2 norm"),
    )
    .with("random direction, median", Mark::Line, by_tap(|tap| quantile(&tap.breaking, 0.5)))
    .with("random direction, least", Mark::Line, by_tap(|tap| quantile(&tap.breaking, 0.0)))
    .with(
        "half of the least margin: certain below",
        Mark::Line,
        by_tap(|tap| quantile(&tap.margins, 0.0) / 2.0),
    )
    .with("noise floor of computing", Mark::Line, by_tap(|tap| tap.noise.largest()))
    .write(folder, "breaking-noise-by-tap")?;

    let views: Vec<String> = study
        .taps
        .first()
        .map_or_else(Vec::new, |tap| tap.views.iter().map(|view| view.name.clone()).collect());
    let title = format!("True token nearest among {}, true prefix known, {model}", study.others + 1);
    let mut figure = Figure::new(title, Axis::linear("share of positions"), Axis::rows(views));
    for (line, tap) in spread(&study.taps).enumerate() {
        let points = tap
            .views
            .iter()
            .enumerate()
            .map(|(row, view)| (view.recovered as f64 / view.positions.max(1) as f64, beside(row, line)));
        figure = figure.with(tap.tap.to_string(), Mark::Rings, points);
    }
    figure.write(folder, "decoding")
}

/// The share of tokens that came back, condition by condition.
pub(crate) fn recovery(study: &RecoveryStudy, model: &str, folder: &Path) -> Result<(), Failure> {
    let conditions = distinct(study.recovered.iter().map(|found| found.condition));
    let taps = distinct(study.recovered.iter().map(|found| found.tap));
    let rows: Vec<String> = conditions.iter().map(Condition::to_string).collect();
    let title = format!("Whole prompts of {model}");
    let mut figure = Figure::new(title, Axis::linear("share of tokens that came back"), Axis::rows(rows));
    for (line, &tap) in spread(&taps).enumerate() {
        let points = study.recovered.iter().filter(|found| found.tap == tap).map(|found| {
            let row = conditions.iter().position(|condition| *condition == found.condition).unwrap_or(0);
            (found.right as f64 / found.tokens.max(1) as f64, beside(row, line))
        });
        figure = figure.with(tap.to_string(), Mark::Rings, points);
    }
    figure.write(folder, "recovery")
}

/// The height of a mark in its row, so that marks of several lines do not cover each other.
fn beside(row: usize, line: usize) -> f64 {
    row as f64 + 0.13 * (line as f64 - (LINES - 1) as f64 / 2.0)
}

fn names(taps: &[Tap]) -> Vec<String> {
    taps.iter().map(Tap::to_string).collect()
}

fn place(taps: &[Tap], tap: Tap) -> f64 {
    taps.iter().position(|held| *held == tap).unwrap_or(0) as f64
}

/// A few of them, evenly spread, the first and the last among them.
fn spread<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let lines = LINES.min(values.len());
    (0..lines).map(move |line| match lines {
        1 => &values[0],
        _ => &values[line * (values.len() - 1) / (lines - 1)],
    })
}
