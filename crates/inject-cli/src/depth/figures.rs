//! Time, equivalents and margins as figures: against the tap if there are several taps, and against the length if there
//! are several lengths.

use super::record::{Kind, Record};
use crate::{
    number::counted,
    plot::{Axis, Figure, Mark, distinct},
};

/// A quantity measured of each inversion.
struct Quantity {
    file: &'static str,
    title: &'static str,
    axis: &'static str,
    value: fn(&Record) -> Option<f64>,
    /// The same quantity of a forward pass, to compare with.
    forward_pass: Option<fn(&Record) -> f64>,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity {
        file: "time",
        title: "Inverting prompts",
        axis: "time (s)",
        value: |record| Some(record.seconds),
        forward_pass: Some(|record| record.forward_seconds),
    },
    Quantity {
        file: "equivalents",
        title: "Inverting prompts",
        axis: "inversion time / time of one forward pass",
        value: |record| Some(record.forward_pass_equivalents),
        forward_pass: None,
    },
    Quantity {
        file: "margins",
        title: "Nearest other token tested, prompts",
        axis: "its distance / noise floor, least over positions",
        value: |record| record.least_margin_over_floor,
        forward_pass: None,
    },
];

/// The axis that the quantities are drawn against.
struct Against<'a> {
    file: &'static str,
    axis: Axis,
    place: &'a dyn Fn(&Record) -> f64,
    /// The quantity that divides the records into series.
    other: &'a dyn Fn(&Record) -> String,
}

/// The figures `time-by-tap`, `equivalents-by-tap`, `margins-by-tap`, and the same `-by-length`. Without any margin there is no
/// figure of margins.
pub(crate) fn figures(model: &str, records: &[Record]) -> Vec<(String, Figure)> {
    let taps = distinct(records.iter().map(|record| record.tap));
    let lengths = distinct(records.iter().map(|record| record.tokens));
    let by_tap = Against {
        file: "tap",
        axis: Axis::columns("tap", taps.iter().map(ToString::to_string)),
        place: &|record| taps.iter().position(|tap| *tap == record.tap).unwrap_or(0) as f64,
        other: &|record| format!("{} tokens", record.tokens),
    };
    let by_length = Against {
        file: "length",
        axis: Axis::log("prompt length (tokens)"),
        place: &|record| record.tokens as f64,
        other: &|record| record.tap.to_string(),
    };
    let asked = [(by_tap, taps.len()), (by_length, lengths.len())];
    let mut figures = Vec::new();
    for (against, _) in asked.iter().filter(|(_, places)| *places > 1) {
        for quantity in &QUANTITIES {
            if records.iter().any(|record| (quantity.value)(record).is_some()) {
                let name = format!("{}-by-{}", quantity.file, against.file);
                figures.push((name, figure(quantity, against, model, records)));
            }
        }
    }
    figures
}

/// The means as a line for either kind of prompt, and each prompt as a dot in the same colour where that is not too much. Where each
/// place has one prompt, the line is that of the prompts.
fn figure(quantity: &Quantity, against: &Against<'_>, model: &str, records: &[Record]) -> Figure {
    let others = distinct(records.iter().map(against.other));
    let (title, named) = match &others[..] {
        [only] => (format!("{} of {model}, {only}", quantity.title), false),
        _ => (format!("{} of {model}", quantity.title), true),
    };
    let mut figure = Figure::new(title, against.axis.clone(), Axis::log(quantity.axis));
    for other in &others {
        let rows: Vec<&Record> = records.iter().filter(|record| (against.other)(record) == *other).collect();
        let name = |of: &str| if named { format!("{other}, {of}") } else { of.to_owned() };
        for kind in Kind::ALL {
            let kind_of = kind;
            let rows_of = |kind: Kind| rows.iter().filter(move |row| row.kind == kind);
            let points: Vec<(f64, f64)> = rows_of(kind)
                .filter_map(|row| Some(((against.place)(row), (quantity.value)(row)?)))
                .collect();
            let kind = match kind {
                Kind::Text => "text",
                Kind::Random => "random tokens",
            };
            if !points.is_empty() {
                let missing = rows_of(kind_of).count() - points.len();
                if missing > 0 {
                    let (name, prompts) = (name(kind), counted(missing, "prompt"));
                    figure = figure.note(format!("{name}: no other token was tested for {prompts}"));
                }
                let means = means(&points);
                if means.len() == points.len() {
                    figure = figure.with(name(kind), Mark::Line, means);
                } else {
                    figure = figure.with(name(&format!("{kind}, mean")), Mark::Line, means);
                    if !named {
                        figure = figure.beside(kind, Mark::Dots, points);
                    }
                }
            }
        }
        if let Some(value) = quantity.forward_pass {
            let points: Vec<(f64, f64)> = rows.iter().map(|row| ((against.place)(row), value(row))).collect();
            figure = figure.with(name("forward pass, mean"), Mark::Line, means(&points));
        }
    }
    figure
}

/// The mean at each place, from the left.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut places = distinct(points.iter().map(|point| point.0));
    places.sort_by(f64::total_cmp);
    let mean = |at: f64| {
        let here = points.iter().filter(|point| point.0 == at);
        let (sum, count) = here.fold((0.0, 0.0), |(sum, count), point| (sum + point.1, count + 1.0));
        (at, sum / count)
    };
    places.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::record::tests::record, *};

    #[test]
    fn a_kind_with_one_prompt_at_each_place_is_one_line() {
        let at = |kind: Kind, tokens: usize, seconds: f64| Record { kind, tokens, seconds, ..record(None) };
        let records = [
            at(Kind::Text, 64, 0.2),
            at(Kind::Text, 64, 0.4),
            at(Kind::Text, 128, 0.5),
            at(Kind::Random, 64, 0.1),
            at(Kind::Random, 128, 0.3),
        ];
        let (name, figure) = figures("tiny", &records).remove(0);
        let svg = figure.svg().unwrap();
        assert_eq!(name, "time-by-length");
        for (legend, count) in [("text, mean", 1), ("random tokens, mean", 0), ("random tokens", 1)] {
            assert_eq!(svg.matches(legend).count(), count, "{legend}: {svg}");
        }
    }

    #[test]
    fn means_run_from_the_left_whatever_was_measured_first() {
        let points = [(64.0, 3.0), (32.0, 1.0), (64.0, 5.0)];
        assert_eq!(means(&points), [(32.0, 1.0), (64.0, 4.0)]);
    }
}
