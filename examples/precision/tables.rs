//! What was measured, as rows: for a terminal and as CSV.

use std::{fs, path::Path};

use inject_examples::Failure;
use inject_studies::{DecodingStudy, FormatStudy, Quantile, RecoveryStudy};

/// Rows under headings.
pub(crate) struct Table {
    title: String,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: impl Into<String>, headings: &[&'static str]) -> Self {
        Table { title: title.into(), headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Columns side by side.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        let lines = [self.title.clone(), line(self.headings.clone())].into_iter().chain(rows);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Writes `name.csv`. A cell with a comma stands in quotation marks.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<(), Failure> {
        let cell = |cell: &str| if cell.contains(',') { format!("\"{cell}\"") } else { cell.to_owned() };
        let headings =
            self.headings.iter().map(|heading| heading.replace(' ', "_")).collect::<Vec<_>>().join(",");
        let rows =
            self.rows.iter().map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(","));
        let lines: Vec<String> = [headings].into_iter().chain(rows).collect();
        fs::write(folder.join(name).with_extension("csv"), lines.join("\n") + "\n")?;
        Ok(())
    }
}

/// The value that a share of the values does not exceed.
pub(crate) fn quantile(quantiles: &[Quantile], share: f64) -> f64 {
    Quantile::upper_at(quantiles, share).unwrap_or(f64::NAN)
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.01..1e5).contains(&size) => format!("{value:.3}"),
        _ if value.is_nan() => "-".to_owned(),
        _ => format!("{value:.2e}"),
    }
}

/// Closest pairs.
pub(crate) fn formats(study: &FormatStudy) -> Table {
    let title = format!("closest pair of {} prompts (L2)", study.prompts);
    let headings = ["held", "tap", "closest", "median", "noise floor", "collisions", "verdict"];
    let mut table = Table::new(title, &headings);
    table.rows.extend(study.formats.iter().map(|found| {
        vec![
            found.held.to_string(),
            found.tap.to_string(),
            short(found.closest.distance),
            short(quantile(&found.quantiles, 0.5)),
            short(found.noise.largest()),
            found.collisions.to_string(),
            found.verdict.to_string(),
        ]
    }));
    table
}

/// What became of each view of the states.
pub(crate) fn decoding(study: &DecodingStudy) -> Table {
    let title = format!(
        "true token nearest among all {} at {} positions, true prefix known (certified)",
        study.others + 1,
        study.positions
    );
    let headings = [
        "tap",
        "state",
        "recovered",
        "positions",
        "recovered at first",
        "first positions",
        "within half margin",
        "beyond and recovered",
        "error median",
        "error / half margin median",
        "error / half margin largest",
        "tokens nearer largest",
    ];
    let mut table = Table::new(title, &headings);
    for tap in &study.taps {
        table.rows.extend(tap.views.iter().map(|view| {
            vec![
                tap.tap.to_string(),
                view.name.clone(),
                view.recovered.to_string(),
                view.positions.to_string(),
                view.recovered_first.to_string(),
                view.first.to_string(),
                view.within_half_margin.to_string(),
                view.recovered_beyond.to_string(),
                short(quantile(&view.errors, 0.5)),
                short(quantile(&view.errors_over_half_margin, 0.5)),
                short(quantile(&view.errors_over_half_margin, 1.0)),
                format!("{:.0}", quantile(&view.nearer, 1.0)),
            ]
        }));
    }
    table
}

/// Where noise begins to matter.
pub(crate) fn breaking(study: &DecodingStudy) -> Table {
    let headings = [
        "tap",
        "noise floor",
        "norm median",
        "margin least",
        "margin median",
        "certain up to",
        "breaks at least",
        "breaks at median",
        "times half margin least",
        "times half margin median",
    ];
    let mut table = Table::new("the L2 norm of noise that first brings another token nearer", &headings);
    table.rows.extend(study.taps.iter().map(|tap| {
        let least = quantile(&tap.margins, 0.0);
        vec![
            tap.tap.to_string(),
            short(tap.noise.largest()),
            short(quantile(&tap.norms, 0.5)),
            short(least),
            short(quantile(&tap.margins, 0.5)),
            short(least / 2.0),
            short(quantile(&tap.breaking, 0.0)),
            short(quantile(&tap.breaking, 0.5)),
            short(quantile(&tap.breaking_over_half_margin, 0.0)),
            short(quantile(&tap.breaking_over_half_margin, 0.5)),
        ]
    }));
    table
}

/// The curve of recovery against noise.
pub(crate) fn survival(study: &DecodingStudy) -> Table {
    let mut table = Table::new("recovery against noise", &["tap", "noise over margin", "recovered"]);
    for tap in &study.taps {
        table.rows.extend(tap.survival.iter().map(|at| {
            vec![tap.tap.to_string(), at.noise_over_margin.to_string(), format!("{:.4}", at.recovered)]
        }));
    }
    table
}

/// Margins in fewer dimensions.
pub(crate) fn projections(study: &DecodingStudy) -> Table {
    let headings =
        ["tap", "dimensions", "margin least", "margin median", "noise floor", "separated", "positions"];
    let mut table = Table::new("margins within random subspaces", &headings);
    for tap in &study.taps {
        table.rows.extend(tap.projections.iter().map(|projected| {
            vec![
                tap.tap.to_string(),
                projected.dimensions.to_string(),
                short(quantile(&projected.margins, 0.0)),
                short(quantile(&projected.margins, 0.5)),
                short(tap.noise.largest()),
                projected.separated.to_string(),
                study.positions.to_string(),
            ]
        }));
    }
    table
}

/// Whole prompts.
pub(crate) fn recovery(study: &RecoveryStudy) -> Table {
    let headings = [
        "condition",
        "tap",
        "exact",
        "prompts",
        "right",
        "tokens",
        "gone",
        "not found",
        "failed",
        "candidates a token",
        "error largest",
        "runner-up / floor",
    ];
    let mut table = Table::new("whole prompts", &headings);
    table.rows.extend(study.recovered.iter().map(|found| {
        vec![
            found.condition.to_string(),
            found.tap.to_string(),
            found.exact.to_string(),
            found.prompts.to_string(),
            found.right.to_string(),
            found.tokens.to_string(),
            found.gone.to_string(),
            found.not_found.to_string(),
            found.failed.to_string(),
            format!("{:.1}", found.candidates_per_token),
            short(found.largest_error),
            found.least_margin_over_floor.map_or("-".to_owned(), short),
        ]
    }));
    table
}
