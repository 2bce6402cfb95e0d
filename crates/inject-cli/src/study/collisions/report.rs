//! The table, the figures and the page.

use inject_sipit::models::Tap;
use inject_studies::{
    corpus::{CorpusStudy, PromptPair, TapReport},
    tap_distances::{Bin, Quantile},
};

use crate::{
    number::{self, counted, measured},
    plot::{Axis, Figure, Mark},
    report::Report,
    table::{Cell, Table, rows},
};

const EXPLANATION: &str = "\
For every tap the smallest distance of all pairs of prompts stands beside the noise floor: the largest distance seen between \
two computations of one state. A tap is separated if the minimum is more than twice its floor, since both states of a pair \
may be off by it. A floor is absent if nothing was computed in two ways that differ, as for prompts of one token; the noise \
is unknown then. Only states that are equal number by number are a collision. At the embedding, prompts that end with the \
same token at the same position collide by construction.";

/// The page, its tables and its figures.
pub(crate) fn report(study: &CorpusStudy, distance: &str) -> Report {
    let mut report = Report::new("How close do different prompts come?");
    report.fact("Model", &study.model_id);
    report.fact("Weights", &study.weight_hash);
    report.fact("Prompts", heading(study));
    report.paragraph(EXPLANATION);
    report.table_on_page(table(study, distance));
    report.figure("minima", minima(study, distance));
    report.figure("distances", quantiles(study, distance));
    report.figure("histogram", histogram(study, distance));
    report.heading("Closest prompts");
    for tap in &study.taps {
        for pair in tap.closest_prompts.iter().take(3) {
            let [first, second] = pair.prompts;
            report.paragraph(format!(
                "{}, {distance} {}, prompts {first} and {second}:",
                tap.tap,
                measured(pair.distance)
            ));
            [0, 1].into_iter().for_each(|i| report.quote(text_of(pair, i)));
        }
    }
    report.heading("All numbers");
    report.table("minima", all_numbers(study));
    report
}

/// A line for each tap.
pub(crate) fn table(study: &CorpusStudy, distance: &str) -> Table {
    let title = format!("{}: {}; {distance}", study.model_id, heading(study));
    rows(title, &study.taps).columns([
        ("tap", &|report| Cell::of(report.tap)),
        ("pairs", &|report| report.distances.pairs.into()),
        ("minimum", &|report| report.distances.minimum.into()),
        ("noise floor", &|report| report.noise.largest().into()),
        ("resolution", &|report| Cell::Text(resolution(report))),
        ("median", &|report| report.distances.median().into()),
        ("co-Lipschitz", &|report| {
            report.distances.separation.map(|separation| separation.co_lipschitz).into()
        }),
        ("anisotropy", &|report| report.distances.geometry.anisotropy.into()),
        ("dimension", &|report| report.distances.geometry.intrinsic_dimension.into()),
    ])
}

/// The resolution, with the reason for a collision that says nothing about the model.
fn resolution(report: &TapReport) -> String {
    let by_construction = report.tap == Tap::Embedding && report.distances.minimum == 0.0;
    let reason = if by_construction { " by construction" } else { "" };
    format!("{}{reason}", report.resolution)
}

fn heading(study: &CorpusStudy) -> String {
    let bos = if study.bos_added { "with BOS" } else { "without BOS" };
    let repeated = match study.repeated_prompts {
        0 => "no duplicates".to_owned(),
        repeated => counted(repeated, "duplicate"),
    };
    format!("{} {bos}, {repeated}", counted(study.prompts, "prompt"))
}

fn all_numbers(study: &CorpusStudy) -> Table {
    rows("", &study.taps).columns([
        ("tap", &|report| Cell::of(report.tap)),
        ("rows", &|report| report.distances.rows.into()),
        ("pairs", &|report| report.distances.pairs.into()),
        ("computed", &|report| report.distances.computed.into()),
        ("minimum", &|report| report.distances.minimum.into()),
        ("noise batched", &|report| report.noise.batched.into()),
        ("noise cached", &|report| report.noise.cached.into()),
        ("noise floor", &|report| report.noise.largest().into()),
        ("resolution", &|report| Cell::Text(resolution(report))),
        ("equal groups", &|report| report.distances.equal.len().into()),
        ("median", &|report| report.distances.median().into()),
        ("nearest median", &|report| Quantile::upper_at(&report.distances.nearest, 0.5).into()),
        ("co lipschitz", &|report| {
            report.distances.separation.map(|separation| separation.co_lipschitz).into()
        }),
        ("mean norm", &|report| report.distances.geometry.mean_norm.into()),
        ("anisotropy", &|report| report.distances.geometry.anisotropy.into()),
        ("intrinsic dimension", &|report| report.distances.geometry.intrinsic_dimension.into()),
    ])
}

fn columns(study: &CorpusStudy) -> Axis {
    Axis::columns("tap", study.taps.iter().map(|report| report.tap.to_string()))
}

fn by_tap(study: &CorpusStudy, value: impl Fn(&TapReport) -> Option<f64>) -> Vec<(f64, f64)> {
    study.taps.iter().enumerate().filter_map(|(i, report)| Some((i as f64, value(report)?))).collect()
}

fn minima(study: &CorpusStudy, distance: &str) -> Figure {
    Figure::new("Smallest distance of all pairs", columns(study), Axis::log(distance))
        .with("minimum", Mark::Line, by_tap(study, |report| Some(report.distances.minimum)))
        .with("noise floor", Mark::Line, by_tap(study, |report| report.noise.largest()))
        .with("median of all pairs", Mark::Dots, by_tap(study, |report| report.distances.median()))
}

/// Boxes from quartile to quartile, whiskers from the first to the last hundredth, and the extremes.
fn quantiles(study: &CorpusStudy, distance: &str) -> Figure {
    let at = |report: &TapReport, share: f64| Quantile::upper_at(&report.distances.quantiles, share);
    let boxes = study.taps.iter().enumerate().filter_map(|(column, report)| {
        let [low, first, middle, third, high] = [0.01, 0.25, 0.5, 0.75, 0.99].map(|share| at(report, share));
        Some((column as f64, [low?, first?, middle?, third?, high?]))
    });
    Figure::new("Distances of all pairs", columns(study), Axis::log(distance))
        .with_boxes("quartiles; whiskers from 1 to 99 %", boxes)
        .with("minimum", Mark::Strokes, by_tap(study, |report| Some(report.distances.minimum)))
        .with("maximum seen", Mark::Dots, by_tap(study, |report| at(report, 1.0)))
}

/// Of the first tap, the one in the middle and the last.
fn histogram(study: &CorpusStudy, distance: &str) -> Figure {
    let mut figure = Figure::new(
        "Distances of pairs",
        Axis::log(distance),
        Axis::linear("pairs per doubling of the distance (%)"),
    );
    let Some(last) = study.taps.len().checked_sub(1) else { return figure };
    let mut chosen = vec![0, last / 2, last];
    chosen.dedup();
    if chosen.len() < study.taps.len() {
        figure = figure.note(format!(
            "{} of {} taps: the first, the middle and the last",
            chosen.len(),
            study.taps.len()
        ));
    }
    for report in chosen.into_iter().map(|tap| &study.taps[tap]) {
        let all: u64 = report.distances.histogram.iter().map(|bin| bin.pairs).sum();
        let bins = || report.distances.histogram.iter();
        // Bins are not equally wide on this axis, so a share is divided by the width of its bin.
        let octaves = |bin: &Bin| (bin.upper / bin.lower).log2();
        let share = |bin: &Bin| 100.0 * bin.pairs as f64 / all.max(1) as f64;
        let points = bins().filter(|bin| bin.lower > 0.0).map(|bin| (bin.lower, share(bin) / octaves(bin)));
        figure = figure.with(report.tap.to_string(), Mark::Curve, points.collect::<Vec<_>>());
        let equal: u64 = bins().filter(|bin| bin.lower <= 0.0).map(|bin| bin.pairs).sum();
        if equal > 0 {
            let (equal, all) = (number::count(equal), number::count(all));
            figure = figure.note(format!(
                "{}: {equal} of {all} pairs are equal (distance 0) and not part of the curve",
                report.tap
            ));
        }
    }
    figure
}

fn text_of(pair: &PromptPair, i: usize) -> String {
    match &pair.text {
        Some(text) => text[i].clone(),
        None => format!("{:?}", pair.token_ids[i]),
    }
}
