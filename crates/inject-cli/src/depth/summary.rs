//! Means over the prompts of one kind, tap and length.

use inject_sipit::models::Tap;

use super::record::{Kind, Record};
use crate::{
    median::median,
    plot::distinct,
    table::{Cell, Table},
};

/// A line for each length, tap and kind of prompt.
pub(crate) fn table(records: &[Record]) -> Table {
    let headings = [
        "tap",
        "tokens",
        "kind",
        "recovered",
        "prompts",
        "inversion ms",
        "forward ms",
        "passes median",
        "passes mean",
        "passes worst",
        "least margin / floor",
        "candidates",
        "repaired",
        "draft ms",
        "choose ms",
        "test ms",
    ];
    let mut table = Table::new("Inversions; passes: time divided by that of one forward pass", &headings);
    for (tokens, tap) in distinct(records.iter().map(|record| (record.tokens, record.tap))) {
        for kind in Kind::ALL {
            push(&mut table, records, tokens, tap, kind);
        }
    }
    table
}

fn push(table: &mut Table, records: &[Record], tokens: usize, tap: Tap, kind: Kind) {
    let same = |record: &&Record| record.tokens == tokens && record.tap == tap && record.kind == kind;
    let rows: Vec<&Record> = records.iter().filter(same).collect();
    if rows.is_empty() {
        return;
    }
    let mut passes: Vec<f64> = rows.iter().map(|row| row.forward_pass_equivalents).collect();
    passes.sort_by(f64::total_cmp);
    let mean =
        |value: &dyn Fn(&Record) -> f64| rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64;
    let testing = |row: &Record, drafts: bool| {
        let stages = row.cost.iter().filter(|(name, _)| (*name == "draft") == drafts);
        // An empty sum of floats is -0.
        0.0 + stages.map(|(_, stage)| 1e3 * stage.testing_seconds.unwrap_or_default()).sum::<f64>()
    };
    let choosing = |row: &Record| {
        0.0 + row.cost.values().map(|s| 1e3 * s.choosing_seconds.unwrap_or_default()).sum::<f64>()
    };
    let margin = rows.iter().filter_map(|row| row.least_margin_over_floor).min_by(f64::total_cmp);
    table.push([
        Cell::of(tap),
        tokens.into(),
        Cell::of(kind.name()),
        rows.iter().filter(|row| row.recovered()).count().into(),
        rows.len().into(),
        mean(&|row| 1e3 * row.seconds).into(),
        mean(&|row| 1e3 * row.forward_seconds).into(),
        median(&passes).into(),
        mean(&|row| row.forward_pass_equivalents).into(),
        passes[passes.len() - 1].into(),
        margin.into(),
        mean(&|row| row.candidates as f64).into(),
        mean(&|row| row.repaired as f64).into(),
        mean(&|row| testing(row, true)).into(),
        mean(&choosing).into(),
        mean(&|row| testing(row, false)).into(),
    ]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::record::tests::record, *};

    /// The cells of the only line, by their headings.
    fn cells(margins: &[Option<f64>]) -> BTreeMap<String, String> {
        let records: Vec<Record> = margins.iter().map(|&margin| record(margin)).collect();
        let csv = table(&records).csv();
        let lines: Vec<&str> = csv.lines().collect();
        let [headings, line] = lines[..] else { panic!("one kind, one line: {csv}") };
        headings.split(',').map(str::to_owned).zip(line.split(',').map(str::to_owned)).collect()
    }

    #[test]
    fn the_margin_of_a_line_is_the_least_that_was_measured() {
        assert_eq!(cells(&[Some(3e5), None, Some(2e4)])["least_margin_/_floor"], "20000");
        let cells = cells(&[None, None]);
        let expected = [
            ("least_margin_/_floor", ""),
            ("inversion_ms", "250"),
            ("forward_ms", "100"),
            ("passes_worst", "2.5"),
            ("candidates", "65"),
            ("repaired", "1"),
            ("draft_ms", "0"),
            ("recovered", "2"),
        ];
        for (heading, cell) in expected {
            assert_eq!(cells[heading], cell, "{heading}");
        }
    }
}
