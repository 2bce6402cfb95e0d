//! Rounding to a narrower number format.

use std::fmt;

use inject_models::{FloatFormat, NumberFormat};
use ndarray::{Array2, ArrayViewMut2, Axis};

/// The rounding of states to a number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rounding {
    format: NumberFormat,
    scaled_by: ScaledBy,
}

/// The numbers that share a scale, for formats that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScaledBy {
    /// The numbers of one state.
    Row,
    /// All numbers of the tensor.
    Tensor,
}

impl Rounding {
    /// The roundings that have a name, the widest format first: `f16`, `bf16`, `int8-row`, `int8-tensor`, `int4-row` and
    /// `int4-tensor`.
    pub const ALL: [Rounding; 6] = [
        Rounding::new(NumberFormat::Float(FloatFormat::F16), ScaledBy::Row),
        Rounding::new(NumberFormat::Float(FloatFormat::Bf16), ScaledBy::Row),
        Rounding::new(NumberFormat::Int8, ScaledBy::Row),
        Rounding::new(NumberFormat::Int8, ScaledBy::Tensor),
        Rounding::new(NumberFormat::Int4, ScaledBy::Row),
        Rounding::new(NumberFormat::Int4, ScaledBy::Tensor),
    ];

    /// Describes a rounding. `scaled_by` has no effect on a format without a scale.
    pub const fn new(format: NumberFormat, scaled_by: ScaledBy) -> Self {
        let scaled_by = if matches!(format, NumberFormat::Float(_)) { ScaledBy::Row } else { scaled_by };
        Rounding { format, scaled_by }
    }

    /// Rounds the states, one a row. Returns for each row an upper bound on how far a coordinate moved because of the scale: half
    /// a step.
    ///
    /// The bound is zero for floating-point formats, where [`FloatFormat::rounding_error`] bounds each number by itself.
    pub fn round(self, states: &mut Array2<f64>) -> Vec<f64> {
        let round = |mut part: ArrayViewMut2<'_, f64>| {
            let largest = part.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let mut values: Vec<f64> = part.iter().copied().collect();
            self.format.round(&mut values);
            part.iter_mut().zip(values).for_each(|(value, rounded)| *value = rounded);
            match self.format {
                NumberFormat::Float(_) => 0.0,
                scaled => scaled.half_step(largest),
            }
        };
        match self.scaled_by {
            ScaledBy::Row => states.axis_chunks_iter_mut(Axis(0), 1).map(round).collect(),
            ScaledBy::Tensor => vec![round(states.view_mut()); states.nrows()],
        }
    }

    /// Returns the floating-point format that holds the rounded values exactly.
    pub fn dtype(self) -> FloatFormat {
        match self.format {
            NumberFormat::Float(float) => float,
            _ => FloatFormat::F64,
        }
    }
}

impl From<FloatFormat> for Rounding {
    fn from(format: FloatFormat) -> Self {
        Rounding::new(format.into(), ScaledBy::Row)
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format;
        match (format, self.scaled_by) {
            (NumberFormat::Float(_), _) => format.fmt(f),
            (_, ScaledBy::Row) => f.pad(&format!("{format}-row")),
            (_, ScaledBy::Tensor) => f.pad(&format!("{format}-tensor")),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_of_its_own_scale_keeps_what_a_common_scale_loses() {
        let states = arr2(&[[1000.0, 1.0], [1.0, 0.4]]);
        let (mut by_row, mut by_tensor) = (states.clone(), states);
        let rows = Rounding::new(NumberFormat::Int8, ScaledBy::Row).round(&mut by_row);
        let tensor = Rounding::new(NumberFormat::Int8, ScaledBy::Tensor).round(&mut by_tensor);
        assert_eq!(by_tensor, arr2(&[[1000.0, 0.0], [0.0, 0.0]]));
        assert_eq!(by_row[[1, 1]], 51.0 / 127.0);
        assert_eq!((rows[1], tensor[0], tensor[1]), (0.5 / 127.0, 500.0 / 127.0, 500.0 / 127.0));
    }

    proptest! {
        #[test]
        fn no_coordinate_moves_farther_than_it_is_said_to(
            values in prop::collection::vec(-3e4_f64..3e4, 12),
            rounding in prop::sample::select(Rounding::ALL.to_vec()),
        ) {
            let states = Array2::from_shape_vec((3, 4), values).unwrap();
            let mut rounded = states.clone();
            let half_steps = rounding.round(&mut rounded);
            for ((row, column), value) in rounded.indexed_iter() {
                let bound = half_steps[row] + rounding.dtype().rounding_error(*value);
                prop_assert!((value - states[[row, column]]).abs() <= bound * (1.0 + 1e-9));
            }
        }
    }
}
