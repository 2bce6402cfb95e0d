//! An axis that spans some values.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::{
    Axis,
    axis::{Place, Scale},
};
use crate::number::count;

/// An axis that spans some values. Coordinates are the values, or their decimal logarithms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) begin: f64,
    pub(super) end: f64,
    /// Coordinates with a line and a label.
    pub(super) ticks: Vec<Tick>,
    /// Coordinates with a faint line.
    minor: Vec<f64>,
    /// The coordinate of a zero on a logarithmic axis.
    zero: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

impl Fitted {
    pub(super) fn new(axis: &Axis, places: impl Iterator<Item = Place>) -> Self {
        let (mut low, mut high, mut zeros) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for place in places {
            match place {
                Place::At(at) => (low, high) = (low.min(at), high.max(at)),
                Place::Zero => zeros = true,
            }
        }
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        match &axis.scale {
            Scale::Columns(names) => columns(names),
            Scale::Rows(names) => rows(names),
            Scale::Share => share(),
            Scale::Linear => linear(low, high),
            Scale::Log if zeros => logarithmic(low, high).with_zero(),
            Scale::Log => logarithmic(low, high),
        }
    }

    /// Returns the coordinate at which a place is drawn. A zero on a logarithmic axis lies below the scale.
    pub(super) fn coordinate(&self, place: Place) -> f64 {
        match place {
            Place::At(at) => at,
            Place::Zero => self.zero,
        }
    }

    fn spanning(begin: f64, end: f64, ticks: Vec<Tick>, minor: Vec<f64>) -> Self {
        Fitted { begin, end, ticks, minor, zero: begin }
    }

    /// The same with room for half a mark at the ends.
    fn with_room(mut self) -> Self {
        let room = 0.02 * (self.end - self.begin);
        self.begin -= room;
        self.end += room;
        self
    }

    /// The same with a place for zeros below the scale.
    fn with_zero(mut self) -> Self {
        let step = 0.07 * (self.end - self.begin);
        self.zero = self.begin - step;
        self.begin -= 1.5 * step;
        self.ticks.insert(0, Tick { at: self.zero, label: "0".to_owned() });
        self
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

/// An axis of columns. If there are many, only some have a name, so that the names have room.
fn columns(names: &[String]) -> Fitted {
    const ROOM: usize = 12;
    let every = names.len().div_ceil(ROOM).max(1);
    Fitted::spanning(-0.5, names.len() as f64 - 0.5, named(names, every), Vec::new())
}

fn rows(names: &[String]) -> Fitted {
    Fitted::spanning(names.len() as f64 - 0.5, -0.5, named(names, 1), Vec::new())
}

fn named(names: &[String], every: usize) -> Vec<Tick> {
    let names = names.iter().enumerate().step_by(every);
    names.map(|(place, name)| Tick { at: place as f64, label: name.clone() }).collect()
}

/// The axis of shares, from 0 to 1 whatever the values are.
fn share() -> Fitted {
    let ticks = (0..=5).map(|fifth| f64::from(fifth) / 5.0);
    let ticks = ticks.map(|at| Tick { at, label: format!("{at:.1}") }).collect();
    Fitted::spanning(0.0, 1.0, ticks, Vec::new()).with_room()
}

fn linear(low: f64, high: f64) -> Fitted {
    /// The approximate number of steps between ticks.
    const STEPS: f64 = 6.0;
    // Values that cannot be negative and come near zero are seen against zero.
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
    Fitted::spanning(first * step, last * step, ticks, Vec::new()).with_room()
}

fn logarithmic(low: f64, high: f64) -> Fitted {
    /// An axis of at least this many decades has labels at decades only.
    const DECADES: f64 = 3.0;
    const ROUNDING: f64 = 1e-9;
    // A single value stands within its axis, with as much room on both sides: a factor of two.
    let room = if high > low { 0.0 } else { 2.0_f64.log10() };
    let (low, high) = (low - room, high + room);
    let of_decades = |multiples: &'static [f64]| {
        let decades = low.floor() as i32..=high.ceil() as i32;
        decades.flat_map(move |decade| multiples.iter().map(move |multiple| (*multiple, decade)))
    };
    let place = |(multiple, decade): (f64, i32)| multiple.log10() + f64::from(decade);
    // Within a decade every multiple is round.
    const ALL: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let round = || of_decades(if high - low < 1.0 { ALL } else { &[1.0, 2.0, 5.0] });
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
    Fitted::spanning(begin, end, ticks.filter(|tick| within(&tick.at)).collect(), minor).with_room()
}

/// A multiple of a power of ten, in digits where they are few.
fn power(multiple: f64, decade: i32) -> String {
    match decade {
        -4..0 => format!("{:.*}", decade.unsigned_abs() as usize, multiple * 10_f64.powi(decade)),
        0..6 => count((multiple * 10_f64.powi(decade)).round() as u64),
        _ => format!("{multiple}e{decade}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(axis: &Axis, values: &[f64]) -> Fitted {
        Fitted::new(axis, values.iter().filter_map(|&value| axis.place(value)))
    }

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        fitted(axis, values).ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn a_linear_axis_counts_in_round_steps_and_begins_at_zero_where_that_is_near() {
        assert_eq!(labels(&Axis::linear(""), &[0.3, 1.1]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2"]);
        assert_eq!(labels(&Axis::linear(""), &[97.0, 101.0]), ["97", "98", "99", "100", "101"]);
        assert_eq!(labels(&Axis::linear(""), &[-20.0, 20.0]), ["-20", "-10", "0", "10", "20"]);
    }

    #[test]
    fn shares_go_from_0_to_1_whatever_was_measured() {
        for values in [&[1.0, 1.0][..], &[0.4], &[]] {
            assert_eq!(labels(&Axis::share(""), values), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        }
        assert_eq!(Axis::share("").place(1.5), None);
    }

    #[test]
    fn a_logarithmic_axis_names_decades_and_between_them_where_there_are_few() {
        assert_eq!(labels(&Axis::log(""), &[0.003, 40.0]), ["0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::log(""), &[0.03, 0.6]), ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(&Axis::log(""), &[1.0, 2e7, 3e7])[..5], ["1", "10", "100", "1,000", "10,000"]);
        assert_eq!(labels(&Axis::log(""), &[4.0, 8.0]), ["4", "5", "6", "7", "8"]);
        assert_eq!(labels(&Axis::log(""), &[2e7, 3e7]), ["2e7", "3e7"]);
    }

    #[test]
    fn a_single_value_does_not_stand_on_the_edge_of_a_logarithmic_axis() {
        let axis = fitted(&Axis::log(""), &[2.0, 2.0]);
        assert!(axis.begin < 0.1 && axis.end > 0.6, "{axis:?}");
    }

    #[test]
    fn no_mark_is_cut_off_at_the_end_of_an_axis() {
        for (axis, values) in
            [(Axis::log(""), [1.0, 100.0]), (Axis::linear(""), [0.0, 6.0]), (Axis::share(""), [0.0, 1.0])]
        {
            let fitted = fitted(&axis, &values);
            let places = values.map(|value| fitted.coordinate(axis.place(value).unwrap()));
            let room = 0.019 * (fitted.end - fitted.begin);
            assert!(fitted.begin + room < places[0] && places[1] < fitted.end - room, "{axis:?}: {fitted:?}");
        }
    }

    #[test]
    fn a_zero_lies_below_the_scale_of_a_logarithmic_axis() {
        assert_eq!(labels(&Axis::log(""), &[0.0, 2e7, 3e7]), ["0", "2e7", "3e7"]);
        let axis = fitted(&Axis::log(""), &[0.0, 1.0, 100.0]);
        let zero = axis.coordinate(Place::Zero);
        assert!(axis.begin < zero && zero < axis.coordinate(Place::At(0.0)));
    }

    #[test]
    fn every_place_lies_within_its_axis() {
        let values: [&[f64]; 6] = [&[], &[0.0], &[7.0], &[1.0, 10.0], &[-3.0, 1e-9], &[1e-12, 1e9]];
        for values in values {
            for axis in [Axis::linear(""), Axis::log("")] {
                let fitted = fitted(&axis, values);
                assert!(fitted.begin < fitted.end && fitted.ticks.len() >= 2, "{axis:?}, {values:?}");
                let within = |at: f64| (fitted.begin - 1e-9..=fitted.end + 1e-9).contains(&at);
                let places = values.iter().filter_map(|&value| axis.place(value));
                assert!(
                    places.map(|place| fitted.coordinate(place)).all(within),
                    "{axis:?}, {values:?}: {fitted:?}"
                );
                assert!(fitted.ticks.iter().all(|tick| within(tick.at)), "{axis:?}, {values:?}");
            }
        }
    }

    #[test]
    fn many_columns_are_not_all_named_and_all_rows_are() {
        let names: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        assert_eq!(fitted(&Axis::columns("", names.clone()), &[]).ticks.len(), 10);
        let rows = fitted(&Axis::rows(names), &[]);
        assert_eq!(rows.ticks.len(), 30);
        assert!(rows.begin > rows.end, "the first row is the uppermost");
    }
}
