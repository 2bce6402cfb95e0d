//! Means over the prompts of one kind, tap and length.

use inject_sipit::models::Tap;

use super::record::{Kind, Record};
use crate::{
    invert::StageReport,
    plot::distinct,
    spread::Spread,
    table::{Cell, Table, rows},
};

/// The inversions of one length, tap and kind of prompt.
struct Alike<'a> {
    tokens: usize,
    tap: Tap,
    kind: Kind,
    records: Vec<&'a Record>,
}

impl Alike<'_> {
    fn spread(&self, value: impl Fn(&Record) -> f64) -> Spread {
        Spread::of(self.records.iter().map(|record| value(record)).collect())
    }

    fn mean(&self, value: impl Fn(&Record) -> f64) -> Cell {
        self.spread(value).mean.into()
    }

    fn passes(&self) -> Spread {
        self.spread(|record| record.forward_pass_equivalents)
    }

    fn least_margin(&self) -> Option<f64> {
        self.records.iter().filter_map(|record| record.least_margin_over_floor).min_by(f64::total_cmp)
    }
}

/// The milliseconds that some stages of an inversion took for one of their parts.
fn ms(record: &Record, stage: fn(&str) -> bool, seconds: fn(&StageReport) -> Option<f64>) -> f64 {
    let stages = record.cost.iter().filter(|(name, _)| stage(name));
    // An empty sum of floats is -0.
    0.0 + stages.map(|(_, stage)| 1e3 * seconds(stage).unwrap_or_default()).sum::<f64>()
}

/// A line for each length, tap and kind of prompt.
pub(crate) fn table(records: &[Record]) -> Table {
    let places = distinct(records.iter().map(|record| (record.tokens, record.tap))).into_iter();
    let groups = places.flat_map(|place| Kind::ALL.map(|kind| (place, kind))).map(|((tokens, tap), kind)| {
        let same = |record: &&Record| (record.tokens, record.tap, record.kind) == (tokens, tap, kind);
        Alike { tokens, tap, kind, records: records.iter().filter(same).collect() }
    });
    let title = "Inversions; passes: time divided by that of one forward pass";
    rows(title, groups.filter(|alike| !alike.records.is_empty())).columns([
        ("tap", &|alike| Cell::of(alike.tap)),
        ("tokens", &|alike| alike.tokens.into()),
        ("kind", &|alike| Cell::of(alike.kind.name())),
        ("recovered", &|alike| alike.records.iter().filter(|record| record.recovered()).count().into()),
        ("prompts", &|alike| alike.records.len().into()),
        ("inversion ms", &|alike| alike.mean(|record| 1e3 * record.seconds)),
        ("forward ms", &|alike| alike.mean(|record| 1e3 * record.forward_seconds)),
        ("passes median", &|alike| alike.passes().median.into()),
        ("passes mean", &|alike| alike.passes().mean.into()),
        ("passes worst", &|alike| alike.passes().largest.into()),
        ("least margin / floor", &|alike| alike.least_margin().into()),
        ("candidates", &|alike| alike.mean(|record| record.candidates as f64)),
        ("repaired", &|alike| alike.mean(|record| record.repaired as f64)),
        ("draft ms", &|alike| alike.mean(|record| ms(record, |name| name == "draft", |s| s.testing_seconds))),
        ("choose ms", &|alike| alike.mean(|record| ms(record, |_| true, |s| s.choosing_seconds))),
        ("test ms", &|alike| alike.mean(|record| ms(record, |name| name != "draft", |s| s.testing_seconds))),
    ])
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
