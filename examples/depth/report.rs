//! What was measured, as lines, files and plots.

use std::{fs::File, io::Write, path::Path};

use inject_examples::{Axis, Failure, Figure, Mark, distinct};
use inject_sipit::{Cost, Inversion, Tap};

/// What a prompt is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Prose or code.
    Text,
    /// Tokens drawn uniformly.
    Random,
}

/// One inversion.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) tap: Tap,
    pub(crate) tokens: usize,
    /// Whether the prompt came back, token for token, with every position verified.
    pub(crate) exact: bool,
    /// Tokens that are the prompt's, verified or not.
    pub(crate) right: usize,
    /// The L2 norm of the noise added to every state.
    pub(crate) noise: f64,
    pub(crate) seconds: f64,
    pub(crate) forward_seconds: f64,
    pub(crate) forward_pass_equivalents: f64,
    pub(crate) candidates: usize,
    /// Positions that the drafts did not settle.
    pub(crate) repaired: usize,
    /// The smallest ratio of a runner-up's distance to the noise floor, where a runner-up was tested.
    pub(crate) least_margin_over_floor: Option<f64>,
    /// Seconds to load the lens and measure the noise, once for all prompts at this tap.
    pub(crate) ready_seconds: f64,
    pub(crate) cost: Cost,
}

/// How long things took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds {
    pub(crate) inversion: f64,
    pub(crate) forward: f64,
    pub(crate) ready: f64,
}

impl Record {
    pub(crate) fn new(
        kind: Kind,
        tap: Tap,
        prompt: &[u32],
        inversion: &Inversion,
        seconds: Seconds,
        noise: f64,
    ) -> Self {
        let ratios = inversion.positions.iter().filter_map(|p| Some(p.runner_up?.distance / p.noise_floor));
        Record {
            kind,
            tap,
            tokens: prompt.len(),
            exact: inversion.is_verified() && inversion.token_ids() == prompt,
            right: inversion.token_ids().iter().zip(prompt).filter(|(found, id)| found == id).count(),
            noise,
            seconds: seconds.inversion,
            forward_seconds: seconds.forward,
            forward_pass_equivalents: seconds.inversion / seconds.forward,
            candidates: inversion.candidates_tested(),
            repaired: inversion.positions.iter().filter(|p| p.found_by != "draft").count(),
            least_margin_over_floor: ratios.min_by(f64::total_cmp),
            ready_seconds: seconds.ready,
            cost: inversion.cost.clone(),
        }
    }
}

/// Above the lines.
pub(crate) const HEADING: &str = "tap         tokens  kind     exact    forward ms  equivalents: median   mean    worst  candidates  \
                                  repaired  draft/choose/test ms";

/// One line a kind of prompt, for one tap and length.
pub(crate) fn lines(records: &[Record]) -> Vec<String> {
    let of_kind = |kind: Kind| {
        let rows: Vec<&Record> = records.iter().filter(|record| record.kind == kind).collect();
        let first = rows.first()?;
        let mut equivalents: Vec<f64> = rows.iter().map(|row| row.forward_pass_equivalents).collect();
        equivalents.sort_by(f64::total_cmp);
        let mean = |value: &dyn Fn(&Record) -> f64| {
            rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64
        };
        let stage = |row: &Record, drafts: bool| {
            let stages = row.cost.stages().iter().filter(|(name, _)| (**name == "draft") == drafts);
            stages.map(|(_, stage)| 1e3 * stage.testing_seconds).sum::<f64>()
        };
        let choosing =
            |row: &Record| row.cost.stages().values().map(|s| 1e3 * s.choosing_seconds).sum::<f64>();
        Some(format!(
            "{:<11} {:>6}  {:<7} {:>3}/{:<3} {:>11.1} {:>20.2} {:>7.2} {:>8.2} {:>11.1} {:>9.2}  {:.1}/{:.1}/{:.1}",
            first.tap.to_string(),
            first.tokens,
            format!("{kind:?}").to_lowercase(),
            rows.iter().filter(|row| row.exact).count(),
            rows.len(),
            1e3 * mean(&|row| row.forward_seconds),
            equivalents[equivalents.len() / 2],
            mean(&|row| row.forward_pass_equivalents),
            equivalents[equivalents.len() - 1],
            mean(&|row| row.candidates as f64),
            mean(&|row| row.repaired as f64),
            mean(&|row| stage(row, true)),
            mean(&choosing),
            mean(&|row| stage(row, false)),
        ))
    };
    [Kind::Text, Kind::Random].into_iter().filter_map(of_kind).collect()
}

/// Writes depth.csv, depth.json and the figures.
pub(crate) fn write(folder: &Path, model: &str, records: &[Record]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mut csv = File::create(folder.join("depth.csv"))?;
    writeln!(
        csv,
        "model,tap,tokens,kind,exact,right,noise,seconds,forward_seconds,forward_pass_equivalents,candidates,repaired,least_margin_over_floor"
    )?;
    for r in records {
        writeln!(
            csv,
            "{model},{},{},{},{},{},{},{:.6},{:.6},{:.4},{},{},{}",
            r.tap,
            r.tokens,
            format!("{:?}", r.kind).to_lowercase(),
            r.exact,
            r.right,
            r.noise,
            r.seconds,
            r.forward_seconds,
            r.forward_pass_equivalents,
            r.candidates,
            r.repaired,
            r.least_margin_over_floor.map_or(String::new(), |ratio| ratio.to_string())
        )?;
    }
    serde_json::to_writer_pretty(File::create(folder.join("depth.json"))?, records)?;
    figures(folder, model, records)
}

/// Against the tap, where there are several, and against the length, where there are several of those.
fn figures(folder: &Path, model: &str, records: &[Record]) -> Result<(), Failure> {
    let taps = distinct(records.iter().map(|record| record.tap));
    let lengths = distinct(records.iter().map(|record| record.tokens));
    if taps.len() > 1 {
        let names: Vec<String> = taps.iter().map(Tap::to_string).collect();
        let column = |record: &Record| taps.iter().position(|tap| *tap == record.tap).unwrap_or(0) as f64;
        let axis = || Axis::columns("tap", names.clone());
        let tokens = list(&lengths);
        by_kind(
            Figure::new(
                format!("Inverting prompts of {tokens} tokens of {model}"),
                axis(),
                Axis::log("inversion time / time of one forward pass"),
            ),
            records,
            column,
            |record| Some(record.forward_pass_equivalents),
        )
        .write(folder, "equivalents-by-tap")?;
        by_kind(
            Figure::new(
                format!("Nearest other token tested, prompts of {tokens} tokens of {model}"),
                axis(),
                Axis::log("its distance / noise floor, least over positions"),
            ),
            records,
            column,
            |record| record.least_margin_over_floor,
        )
        .write(folder, "margins-by-tap")?;
    }
    if lengths.len() > 1 {
        let mut figure = Figure::new(
            format!("Inverting prompts of {model}"),
            Axis::log("prompt length (tokens)"),
            Axis::log("time (s), mean"),
        );
        for &tap in &taps {
            let mean = |of: fn(&Record) -> f64| {
                lengths.iter().map(move |&length| {
                    let rows = records.iter().filter(|r| r.tap == tap && r.tokens == length);
                    let (sum, count) = rows.fold((0.0, 0), |(sum, count), r| (sum + of(r), count + 1));
                    (length as f64, sum / f64::from(count.max(1)))
                })
            };
            figure = figure.with(format!("{tap}: inversion"), Mark::Line, mean(|r| r.seconds)).with(
                "forward pass",
                Mark::Line,
                mean(|r| r.forward_seconds),
            );
        }
        figure.write(folder, "time-by-length")?;
    }
    Ok(())
}

/// Each prompt as a dot, and the means as a line, for either kind of prompt.
fn by_kind(
    mut figure: Figure,
    records: &[Record],
    x: impl Fn(&Record) -> f64,
    y: impl Fn(&Record) -> Option<f64>,
) -> Figure {
    for (kind, name) in [(Kind::Text, "text"), (Kind::Random, "random tokens")] {
        let of_kind = records.iter().filter(|record| record.kind == kind);
        let points: Vec<(f64, f64)> = of_kind.filter_map(|r| Some((x(r), y(r)?))).collect();
        if points.is_empty() {
            continue;
        }
        let mean = |at: f64| {
            let (sum, count) =
                points.iter().filter(|point| point.0 == at).fold((0.0, 0.0), |(s, n), p| (s + p.1, n + 1.0));
            (at, sum / count)
        };
        let means: Vec<(f64, f64)> =
            distinct(points.iter().map(|point| point.0)).into_iter().map(mean).collect();
        figure = figure.with(format!("{name}, mean"), Mark::Line, means).with(name, Mark::Dots, points);
    }
    figure
}

fn list(lengths: &[usize]) -> String {
    lengths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
