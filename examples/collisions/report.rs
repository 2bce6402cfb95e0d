//! What people read: a table, a CSV file, figures and a page.

use std::{fmt::Write, fs, path::Path};

use inject_examples::{Axis, Failure, Figure, Mark};
use inject_studies::{Bin, CorpusStudy, PromptPair, Quantile, TapReport};

/// Writes minima.csv, the figures and report.html.
pub(crate) fn write(study: &CorpusStudy, out: &Path) -> Result<(), Failure> {
    fs::write(out.join("minima.csv"), csv(study))?;
    minima(study).write(out, "minima")?;
    quantiles(study).write(out, "distances")?;
    histogram(study).write(out, "histogram")?;
    let figure = |name: &str| fs::read_to_string(out.join(name).with_extension("svg"));
    fs::write(
        out.join("report.html"),
        page(study, &[figure("minima")?, figure("distances")?, figure("histogram")?]),
    )?;
    Ok(())
}

/// A line for each tap.
pub(crate) fn table(study: &CorpusStudy) -> String {
    let mut text = heading(study);
    let _ = write!(
        text,
        "\n{:<12} {:>14} {:>10} {:>10} {:>10} {:>11} {:>8} {:>6}  verdict",
        "tap", "pairs", "minimum", "noise", "median", "co-Lip.", "anisotr.", "dim."
    );
    for report in &study.taps {
        let distances = &report.distances;
        let geometry = distances.geometry;
        let _ = write!(
            text,
            "\n{:<12} {:>14} {:>10.3e} {:>10.1e} {:>10} {:>11} {:>8} {:>6}  {}",
            report.tap.to_string(),
            distances.pairs,
            distances.minimum,
            report.noise.largest(),
            number(distances.median(), 3),
            number(distances.separation.map(|separation| separation.co_lipschitz), 4),
            number(geometry.anisotropy, 3),
            number(geometry.intrinsic_dimension, 1),
            report.verdict
        );
    }
    text
}

fn heading(study: &CorpusStudy) -> String {
    let bos = if study.bos_added { "with BOS" } else { "without BOS" };
    format!(
        "{}: {} prompts {bos}, {} of them repeated",
        study.model_id, study.prompts, study.repeated_prompts
    )
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn csv(study: &CorpusStudy) -> String {
    let mut text =
        "tap,rows,pairs,computed,minimum,noise_batched,noise_cached,noise_floor,verdict,equal_groups,median,\
                    nearest_median,co_lipschitz,mean_norm,anisotropy,intrinsic_dimension\n"
            .to_owned();
    let exact = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for report in &study.taps {
        let distances = &report.distances;
        let geometry = distances.geometry;
        let nearest = Quantile::upper_at(&distances.nearest, 0.5);
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            report.tap,
            distances.rows,
            distances.pairs,
            distances.computed,
            distances.minimum,
            report.noise.batched,
            exact(report.noise.cached),
            report.noise.largest(),
            report.verdict,
            distances.equal.len(),
            exact(distances.median()),
            exact(nearest),
            exact(distances.separation.map(|separation| separation.co_lipschitz)),
            geometry.mean_norm,
            exact(geometry.anisotropy),
            exact(geometry.intrinsic_dimension),
        );
    }
    text
}

fn columns(study: &CorpusStudy) -> Axis {
    Axis::columns("tap", study.taps.iter().map(|report| report.tap.to_string()))
}

fn by_tap(study: &CorpusStudy, value: impl Fn(&TapReport) -> Option<f64>) -> Vec<(f64, f64)> {
    study.taps.iter().enumerate().filter_map(|(i, report)| Some((i as f64, value(report)?))).collect()
}

fn minima(study: &CorpusStudy) -> Figure {
    Figure::new("Smallest distance of all pairs", columns(study), Axis::log("L2 distance"))
        .with("minimum", Mark::Line, by_tap(study, |report| Some(report.distances.minimum)))
        .with("noise floor", Mark::Line, by_tap(study, |report| Some(report.noise.largest())))
        .with("median of all pairs", Mark::Dots, by_tap(study, |report| report.distances.median()))
}

/// Boxes from quartile to quartile, whiskers from the first to the last hundredth, and the extremes.
fn quantiles(study: &CorpusStudy) -> Figure {
    let at = |report: &TapReport, share: f64| Quantile::upper_at(&report.distances.quantiles, share);
    let boxes = study.taps.iter().enumerate().filter_map(|(column, report)| {
        let [low, first, middle, third, high] = [0.01, 0.25, 0.5, 0.75, 0.99].map(|share| at(report, share));
        Some((column as f64, [low?, first?, middle?, third?, high?]))
    });
    Figure::new("Distances of all pairs", columns(study), Axis::log("L2 distance"))
        .with_boxes("quartiles; whiskers from 1 to 99 %", boxes)
        .with("minimum", Mark::Strokes, by_tap(study, |report| Some(report.distances.minimum)))
        .with("maximum seen", Mark::Dots, by_tap(study, |report| at(report, 1.0)))
}

/// Of the first tap, the one in the middle and the last.
fn histogram(study: &CorpusStudy) -> Figure {
    let mut figure = Figure::new(
        "Distances of pairs",
        Axis::log("L2 distance"),
        Axis::linear("pairs per doubling of the distance (%)"),
    );
    let Some(last) = study.taps.len().checked_sub(1) else { return figure };
    let mut chosen = vec![0, last / 2, last];
    chosen.dedup();
    for report in chosen.into_iter().map(|tap| &study.taps[tap]) {
        let all: u64 = report.distances.histogram.iter().map(|bin| bin.pairs).sum();
        let bins = report.distances.histogram.iter();
        // Bins are not equally wide on this axis, so a share is divided by the width of its bin; equal states have no place on it.
        let octaves = |bin: &Bin| (bin.upper / bin.lower).log2();
        let share = |bin: &Bin| 100.0 * bin.pairs as f64 / all.max(1) as f64;
        let points = bins.filter(|bin| bin.lower > 0.0).map(|bin| (bin.lower, share(bin) / octaves(bin)));
        figure = figure.with(report.tap.to_string(), Mark::Line, points.collect::<Vec<_>>());
    }
    figure
}

/// One page that needs no other file.
fn page(study: &CorpusStudy, figures: &[String]) -> String {
    let mut text = format!(
        "<!doctype html><meta charset=utf-8><title>Collisions: {0}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         table{{border-collapse:collapse}}td,th{{padding:.2em .7em;border-bottom:1px solid #ccc;text-align:right}}\
         td:first-child,th:first-child{{text-align:left}}svg{{max-width:100%;height:auto}}\
         pre{{white-space:pre-wrap;background:#f6f6f6;padding:.5em;margin:.3em 0}}</style>\
         <h1>How close do different prompts come?</h1><p>{1}. Weights <code>{2}</code>.</p>\
         <p>For every tap the smallest distance of all pairs of prompts stands beside the noise floor: the largest distance \
         seen between two computations of one state. A tap is <em>separated</em> if the minimum is more than twice its floor, \
         since both states of a pair may be off by it. Only states that are equal number by number are a \
         <em>collision</em>.</p>",
        escaped(&study.model_id),
        escaped(&heading(study)),
        escaped(&study.weight_hash),
    );
    text += "<table><tr><th>tap<th>pairs<th>minimum<th>noise floor<th>verdict<th>median<th>anisotropy<th>dimension</tr>";
    for report in &study.taps {
        let geometry = report.distances.geometry;
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td>{:.4e}<td>{:.1e}<td>{}<td>{}<td>{}<td>{}</tr>",
            report.tap,
            report.distances.pairs,
            report.distances.minimum,
            report.noise.largest(),
            report.verdict,
            number(report.distances.median(), 3),
            number(geometry.anisotropy, 3),
            number(geometry.intrinsic_dimension, 1),
        );
    }
    text += "</table>";
    for figure in figures {
        // The declaration of an XML file has no place inside a page.
        text += figure.find("<svg").map_or("", |begin| &figure[begin..]);
    }
    text += "<h2>Closest prompts</h2>";
    for report in &study.taps {
        let _ = write!(text, "<h3>{}</h3>", report.tap);
        for pair in report.closest_prompts.iter().take(3) {
            text += &shown(pair);
        }
    }
    text
}

fn shown(pair: &PromptPair) -> String {
    let of = |i: usize| match &pair.text {
        Some(text) => escaped(&text[i]),
        None => format!("{:?}", pair.token_ids[i]),
    };
    let [first, second] = pair.prompts;
    format!(
        "<p>{:.4e} between prompts {first} and {second}<pre>{}</pre><pre>{}</pre>",
        pair.distance,
        of(0),
        of(1)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
