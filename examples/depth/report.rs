//! What was measured, as lines and files.

use std::{fs::File, io::Write, path::Path};

use inject_examples::Failure;
use inject_sipit::{Cost, Inversion, models::Tap};

use super::figures::figures;

/// What a prompt is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Prose or code.
    Text,
    /// Tokens drawn uniformly.
    Random,
}

/// In the order of the lines.
pub(crate) const KINDS: [Kind; 2] = [Kind::Text, Kind::Random];

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

/// Above the lines. A margin is the least of all prompts' and positions'.
pub(crate) const HEADING: &str = "tap         tokens  kind     exact  inversion ms  forward ms  equivalents: median   mean    worst  margin/floor  \
                                  candidates  repaired  draft/choose/test ms";

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
            // An empty sum of floats is -0.
            0.0 + stages.map(|(_, stage)| 1e3 * stage.testing_seconds).sum::<f64>()
        };
        let choosing =
            |row: &Record| row.cost.stages().values().map(|s| 1e3 * s.choosing_seconds).sum::<f64>();
        let margin = rows.iter().filter_map(|row| row.least_margin_over_floor).min_by(f64::total_cmp);
        Some(format!(
            "{:<11} {:>6}  {:<7} {:>3}/{:<3} {:>11.1} {:>11.1} {:>20.2} {:>7.2} {:>8.2} {:>13} {:>11.1} {:>9.2}  {:.1}/{:.1}/{:.1}",
            first.tap.to_string(),
            first.tokens,
            format!("{kind:?}").to_lowercase(),
            rows.iter().filter(|row| row.exact).count(),
            rows.len(),
            1e3 * mean(&|row| row.seconds),
            1e3 * mean(&|row| row.forward_seconds),
            equivalents[equivalents.len() / 2],
            mean(&|row| row.forward_pass_equivalents),
            equivalents[equivalents.len() - 1],
            margin.map_or(String::new(), |margin| format!("{margin:.3e}")),
            mean(&|row| row.candidates as f64),
            mean(&|row| row.repaired as f64),
            mean(&|row| stage(row, true)),
            mean(&choosing),
            mean(&|row| stage(row, false)),
        ))
    };
    KINDS.into_iter().filter_map(of_kind).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(margin: Option<f64>) -> Record {
        Record {
            kind: Kind::Text,
            tap: Tap::Block(15),
            tokens: 64,
            exact: true,
            right: 64,
            noise: 0.0,
            seconds: 0.25,
            forward_seconds: 0.1,
            forward_pass_equivalents: 2.5,
            candidates: 65,
            repaired: 1,
            least_margin_over_floor: margin,
            ready_seconds: 0.5,
            cost: Cost::default(),
        }
    }

    /// What a line has under a name of the heading, both flush right.
    fn under(name: &str, margins: &[Option<f64>]) -> String {
        let records: Vec<Record> = margins.iter().map(|&margin| record(margin)).collect();
        let [line] = &lines(&records)[..] else { panic!("one kind, one line") };
        let begin = HEADING.find(name).unwrap();
        line[begin..begin + name.len()].trim().to_owned()
    }

    #[test]
    fn the_margin_of_a_line_is_the_least_that_was_measured() {
        assert_eq!(under("margin/floor", &[Some(3e5), None, Some(2e4)]), "2.000e4");
        assert_eq!(under("margin/floor", &[None, None]), "");
        assert_eq!(under("inversion ms", &[None]), "250.0");
        assert_eq!(under("forward ms", &[None]), "100.0");
        assert_eq!(under("worst", &[None]), "2.50");
        assert_eq!(under("candidates", &[None]), "65.0");
        assert_eq!(under("repaired", &[None]), "1.00");
    }
}
