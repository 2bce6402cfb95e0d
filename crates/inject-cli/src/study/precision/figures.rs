//! The results as figures.

use inject_sipit::{models::Tap, states::Disturbance};
use inject_studies::{
    decoding::{DecodingStudy, TapDecoding},
    formats::{FormatStudy, Storage},
    recovery::{Condition, RecoveryStudy},
};

use crate::{
    number::count,
    plot::{Axis, Figure, Mark, distinct},
    study::quantile,
};

/// The most taps with lines of their own.
const LINES: usize = 6;

/// Closest pairs by tap: one figure for formats of weights, one for states.
pub(crate) fn formats(study: &FormatStudy, model: &str) -> [(&'static str, Figure); 2] {
    let taps = distinct(study.formats.iter().map(|found| found.tap));
    let storages = distinct(study.formats.iter().map(|found| found.storage));
    let points = |storage: Storage| {
        let with_it = study.formats.iter().filter(move |found| found.storage == storage);
        with_it.map(|found| (place(&taps, found.tap), found.closest.distance))
    };
    let figure = |what: &str, wanted: fn(Storage) -> bool| {
        let title = format!("Closest of {} prompts of {model}, {what}", count(study.prompts));
        let mut figure = Figure::new(title, Axis::columns("tap", names(&taps)), Axis::log("L2 distance"));
        for &storage in storages.iter().filter(|storage| wanted(**storage)) {
            let name = match storage {
                Storage::Weights(format) => format.to_string(),
                Storage::States(disturbance) => disturbance.to_string(),
                _ => storage.to_string(),
            };
            figure = figure.with(name, Mark::Line, points(storage));
        }
        let noise = study.formats.iter().filter(|found| found.storage == Storage::AsComputed);
        figure.with(
            "noise floor",
            Mark::Strokes,
            noise.filter_map(|found| Some((place(&taps, found.tap), found.noise.largest()?))),
        )
    };
    let of_weights = |storage| !matches!(storage, Storage::States(_));
    let of_states =
        |storage| matches!(storage, Storage::AsComputed | Storage::States(Disturbance::Rounded(_)));
    [
        ("closest-weights", figure("weights in narrow formats", of_weights)),
        ("closest-states", figure("states in narrow formats", of_states)),
    ]
}

/// Recovery against noise, the smallest noise that matters by tap, and the share of positions recovered of each view.
pub(crate) fn decoding(study: &DecodingStudy, model: &str) -> [(&'static str, Figure); 3] {
    let taps: Vec<Tap> = study.taps.iter().map(|tap| tap.tap).collect();
    let title = format!("Nearest token under noise in random directions, {model}");
    let mut survival = Figure::new(
        title,
        Axis::log("L2 norm of the noise / margin of the position"),
        Axis::share("share recovered"),
    );
    for tap in spread(&study.taps) {
        let points = tap.survival.iter().map(|at| (at.noise_over_margin, at.recovered));
        survival = survival.with(tap.tap.to_string(), Mark::Curve, points);
    }
    let survival =
        survival.with("half margin: certain below (Theorem 3.2)", Mark::Curve, [(0.5, 0.0), (0.5, 1.0)]);

    let by_tap = |value: fn(&TapDecoding) -> Option<f64>| {
        let columns = study.taps.iter().enumerate();
        columns.filter_map(move |(column, tap)| Some((column as f64, value(tap)?)))
    };
    let breaking = Figure::new(
        format!("The noise that changes the nearest token, {model}"),
        Axis::columns("tap", names(&taps)),
        Axis::log("L2 norm"),
    )
    .with("random direction, median", Mark::Line, by_tap(|tap| quantile(&tap.breaking, 0.5)))
    .with("random direction, least", Mark::Line, by_tap(|tap| quantile(&tap.breaking, 0.0)))
    .with(
        "half of the least margin: certain below",
        Mark::Line,
        by_tap(|tap| quantile(&tap.margins, 0.0).map(|least| least / 2.0)),
    )
    .with("noise floor of computing", Mark::Line, by_tap(|tap| tap.noise.largest()));

    let views: Vec<String> = study
        .taps
        .first()
        .map_or_else(Vec::new, |tap| tap.views.iter().map(|view| view.name.clone()).collect());
    let title = format!("True token nearest of {}, true prefix known, {model}", count(study.others + 1));
    let mut figure = Figure::new(title, Axis::share("share of positions"), Axis::rows(views));
    let lines = study.taps.len();
    for (line, tap) in spread(&study.taps).enumerate() {
        let points = tap.views.iter().enumerate().map(|(row, view)| {
            (view.recovered as f64 / view.positions.max(1) as f64, beside(row, line, lines))
        });
        figure = figure.with(tap.tap.to_string(), Mark::Rings, points);
    }
    [("recovery-against-noise", survival), ("breaking-noise-by-tap", breaking), ("decoding", figure)]
}

/// The share of tokens recovered, condition by condition.
pub(crate) fn recovery(study: &RecoveryStudy, model: &str) -> Figure {
    let conditions = distinct(study.recovered.iter().map(|found| found.condition));
    let taps = distinct(study.recovered.iter().map(|found| found.tap));
    let rows: Vec<String> = conditions.iter().map(Condition::to_string).collect();
    let title = format!("Whole prompts of {model}");
    let mut figure = Figure::new(title, Axis::share("share of tokens recovered"), Axis::rows(rows));
    let lines = taps.len();
    for (line, &tap) in spread(&taps).enumerate() {
        let points = study.recovered.iter().filter(|found| found.tap == tap).map(|found| {
            let row = conditions.iter().position(|condition| *condition == found.condition).unwrap_or(0);
            (found.right as f64 / found.tokens.max(1) as f64, beside(row, line, lines))
        });
        figure = figure.with(tap.to_string(), Mark::Rings, points);
    }
    figure
}

/// The height of a mark in its row, so that marks of several lines do not cover each other.
fn beside(row: usize, line: usize, lines: usize) -> f64 {
    let lines = lines.min(LINES);
    let step = (0.8 / lines as f64).min(0.3);
    row as f64 + step * (line as f64 - (lines - 1) as f64 / 2.0)
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
