//! What is measured along one side of a figure, and where its marks lie.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// One axis: its label, which names the unit, and its scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    title: String,
    scale: Scale,
}

#[derive(Clone, Debug, PartialEq)]
enum Scale {
    Linear,
    Log,
    Names { names: Vec<String>, upright: bool },
}

/// An axis that spans some values. Places are the values, or their decimal logarithms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) begin: f64,
    pub(super) end: f64,
    /// Places with a line and a label.
    pub(super) ticks: Vec<Tick>,
    /// Places with a faint line.
    pub(super) minor: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

impl Axis {
    /// Equal steps.
    pub fn linear(title: impl Into<String>) -> Self {
        Axis { title: title.into(), scale: Scale::Linear }
    }

    /// Equal ratios.
    pub fn log(title: impl Into<String>) -> Self {
        Axis { title: title.into(), scale: Scale::Log }
    }

    /// A column for each name, from the left; values are their places in the list, from 0.
    pub fn columns<N: Into<String>>(title: impl Into<String>, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Axis { title: title.into(), scale: Scale::Names { names, upright: false } }
    }

    /// A row for each name, from the top; values are their places in the list, from 0. For the upright axis.
    pub fn rows<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Axis { title: String::new(), scale: Scale::Names { names, upright: true } }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// The names of rows.
    pub(super) fn names(&self) -> Option<&[String]> {
        match &self.scale {
            Scale::Names { names, upright: true } => Some(names),
            _ => None,
        }
    }

    /// Where a value lies, if it has a place here.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Log => value.log10(),
            Scale::Linear | Scale::Names { .. } => value,
        };
        place.is_finite().then_some(place)
    }

    /// The same axis, spanning these places.
    pub(super) fn fit(&self, places: impl Iterator<Item = f64>) -> Fitted {
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        let empty = low > high;
        match &self.scale {
            Scale::Names { names, upright } => named(names, *upright),
            Scale::Linear if empty => linear(0.0, 1.0),
            Scale::Linear => linear(low, high),
            Scale::Log if empty => logarithmic(0.0, 1.0),
            Scale::Log => logarithmic(low, high),
        }
    }
}

impl Ranged for Fitted {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (place - self.begin) / (self.end - self.begin);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            self.minor.clone()
        } else {
            self.ticks.iter().map(|tick| tick.at).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.begin..self.end
    }
}

impl ValueFormatter<f64> for Fitted {
    fn format_ext(&self, place: &f64) -> String {
        self.ticks.iter().find(|tick| tick.at == *place).map(|tick| tick.label.clone()).unwrap_or_default()
    }
}

fn named(names: &[String], upright: bool) -> Fitted {
    /// Columns that have room for their names.
    const ROOM: usize = 12;
    let every = if upright { 1 } else { names.len().div_ceil(ROOM).max(1) };
    let ticks = names.iter().enumerate().step_by(every);
    let ticks = ticks.map(|(place, name)| Tick { at: place as f64, label: name.clone() }).collect();
    let (first, last) = (-0.5, names.len() as f64 - 0.5);
    let (begin, end) = if upright { (last, first) } else { (first, last) };
    Fitted { begin, end, ticks, minor: Vec::new() }
}

fn linear(low: f64, high: f64) -> Fitted {
    /// Steps between ticks, about.
    const STEPS: f64 = 6.0;
    // What cannot be negative and comes near zero is seen against zero.
    let low = if low >= 0.0 && 2.0 * low <= high { 0.0 } else { low };
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let decade = 10_f64.powf((span / STEPS).log10().floor());
    let multiples = [1.0, 2.0, 5.0, 10.0];
    let step = multiples.map(|multiple| multiple * decade);
    let step = step.into_iter().find(|step| span / step <= STEPS).unwrap_or(span);
    let (first, last) = ((low / step).floor(), ((low + span) / step).ceil());
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let label = |value: f64| match (1e-4..1e7).contains(&step) {
        true => format!("{value:.decimals$}"),
        false => format!("{value:.1e}"),
    };
    let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step);
    let ticks = ticks.map(|at| Tick { at, label: label(at) }).collect();
    Fitted { begin: first * step, end: last * step, ticks, minor: Vec::new() }
}

fn logarithmic(low: f64, high: f64) -> Fitted {
    /// From so many decades on there is a label for each, below also between them.
    const DECADES: f64 = 3.0;
    const ROUNDING: f64 = 1e-9;
    let of_decades = |multiples: &'static [f64]| {
        let decades = low.floor() as i32..=high.ceil() as i32;
        decades.flat_map(move |decade| multiples.iter().map(move |multiple| (*multiple, decade)))
    };
    let place = |(multiple, decade): (f64, i32)| multiple.log10() + f64::from(decade);
    let round = || of_decades(&[1.0, 2.0, 5.0]);
    let below = round().map(place).filter(|&at| at <= low + ROUNDING);
    let begin = below.fold(low.floor(), f64::max);
    let above = round().map(place).filter(|&at| at >= high - ROUNDING && at > begin);
    let end = above.fold(high.ceil().max(begin + 1.0), f64::min);
    let within = move |at: &f64| (begin - ROUNDING..=end + ROUNDING).contains(at);
    let labelled = |&(multiple, _): &(f64, i32)| multiple == 1.0 || end - begin < DECADES;
    let ticks = round()
        .filter(labelled)
        .map(|(multiple, decade)| Tick { at: place((multiple, decade)), label: power(multiple, decade) });
    let minor = of_decades(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).map(place).filter(within).collect();
    Fitted { begin, end, ticks: ticks.filter(|tick| within(&tick.at)).collect(), minor }
}

/// A multiple of a power of ten, in digits where they are few.
fn power(multiple: f64, decade: i32) -> String {
    match decade {
        -4..0 => format!("{:.*}", decade.unsigned_abs() as usize, multiple * 10_f64.powi(decade)),
        0..6 => format!("{}", multiple * 10_f64.powi(decade)),
        _ => format!("{multiple}e{decade}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let places = values.iter().filter_map(|&value| axis.place(value));
        axis.fit(places).ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn a_linear_axis_counts_in_round_steps_and_begins_at_zero_where_that_is_near() {
        assert_eq!(labels(&Axis::linear(""), &[0.3, 1.1]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2"]);
        assert_eq!(labels(&Axis::linear(""), &[97.0, 101.0]), ["97", "98", "99", "100", "101"]);
        assert_eq!(labels(&Axis::linear(""), &[-20.0, 20.0]), ["-20", "-10", "0", "10", "20"]);
    }

    #[test]
    fn a_logarithmic_axis_names_decades_and_between_them_where_there_are_few() {
        assert_eq!(labels(&Axis::log(""), &[0.003, 40.0]), ["0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::log(""), &[0.03, 0.6]), ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(&Axis::log(""), &[0.0, 2e7, 3e7]), ["2e7", "5e7"]);
    }

    #[test]
    fn every_place_lies_within_its_axis() {
        let values: [&[f64]; 6] = [&[], &[0.0], &[7.0], &[1.0, 10.0], &[-3.0, 1e-9], &[1e-12, 1e9]];
        for values in values {
            for axis in [Axis::linear(""), Axis::log("")] {
                let places: Vec<f64> = values.iter().filter_map(|&value| axis.place(value)).collect();
                let fitted = axis.fit(places.iter().copied());
                assert!(fitted.begin < fitted.end && fitted.ticks.len() >= 2, "{axis:?}, {values:?}");
                let within = |at: &f64| (fitted.begin - 1e-9..=fitted.end + 1e-9).contains(at);
                assert!(places.iter().all(within), "{axis:?}, {values:?}: {fitted:?}");
                assert!(fitted.ticks.iter().all(|tick| within(&tick.at)), "{axis:?}, {values:?}");
            }
        }
    }

    #[test]
    fn many_columns_are_not_all_named_and_all_rows_are() {
        let names: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        assert_eq!(Axis::columns("", names.clone()).fit([].into_iter()).ticks.len(), 10);
        let rows = Axis::rows(names).fit([].into_iter());
        assert_eq!(rows.ticks.len(), 30);
        assert!(rows.begin > rows.end, "the first row is the uppermost");
    }
}
