//! What was measured, as lines, files and plots.

use std::{fs::File, io::Write, path::Path};

use inject_examples::Failure;
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

impl Record {
    pub(crate) fn new(
        kind: Kind,
        tap: Tap,
        prompt: &[u32],
        inversion: &Inversion,
        seconds: f64,
        forward_seconds: f64,
        ready_seconds: f64,
    ) -> Self {
        let ratios = inversion.positions.iter().filter_map(|p| Some(p.runner_up?.distance / p.noise_floor));
        Record {
            kind,
            tap,
            tokens: prompt.len(),
            exact: inversion.is_verified() && inversion.token_ids() == prompt,
            seconds,
            forward_seconds,
            forward_pass_equivalents: seconds / forward_seconds,
            candidates: inversion.candidates_tested(),
            repaired: inversion.positions.iter().filter(|p| p.found_by != "draft").count(),
            least_margin_over_floor: ratios.min_by(f64::total_cmp),
            ready_seconds,
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

/// Writes depth.csv and depth.json.
pub(crate) fn write(folder: &Path, model: &str, records: &[Record]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mut csv = File::create(folder.join("depth.csv"))?;
    writeln!(
        csv,
        "model,tap,tokens,kind,exact,seconds,forward_seconds,forward_pass_equivalents,candidates,repaired"
    )?;
    for r in records {
        writeln!(
            csv,
            "{model},{},{},{},{},{:.6},{:.6},{:.4},{},{}",
            r.tap,
            r.tokens,
            format!("{:?}", r.kind).to_lowercase(),
            r.exact,
            r.seconds,
            r.forward_seconds,
            r.forward_pass_equivalents,
            r.candidates,
            r.repaired
        )?;
    }
    serde_json::to_writer_pretty(File::create(folder.join("depth.json"))?, records)?;
    Ok(())
}
