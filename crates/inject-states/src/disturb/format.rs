//! Number formats in which states are kept.

use std::fmt;

use half::{bf16, f16};
use ndarray::{Array2, ArrayViewMut2, Axis};

use crate::foreign::SourceDtype;

/// A number format of states narrower than the one they are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateFormat {
    /// 16 bits, 11 of them significant; up to 65,504.
    F16,
    /// 16 bits, 8 of them significant.
    Bf16,
    /// 255 even steps between plus and minus the largest magnitude.
    Int8(ScaledBy),
    /// 15 even steps between plus and minus the largest magnitude.
    Int4(ScaledBy),
}

/// Which numbers share the scale of an integer format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaledBy {
    /// Those of one state.
    Row,
    /// All of them.
    Tensor,
}

impl StateFormat {
    /// All of them, the widest first.
    pub const ALL: [StateFormat; 6] = [
        StateFormat::F16,
        StateFormat::Bf16,
        StateFormat::Int8(ScaledBy::Row),
        StateFormat::Int8(ScaledBy::Tensor),
        StateFormat::Int4(ScaledBy::Row),
        StateFormat::Int4(ScaledBy::Tensor),
    ];

    /// Rounds the states, one a row, and gives for each row how far rounding to even steps may have moved any of its
    /// coordinates: half a step. Zero for the floating formats, where [`SourceDtype::rounding_error`] says it of each number.
    pub fn round(self, states: &mut Array2<f64>) -> Vec<f64> {
        match self {
            StateFormat::F16 => states.mapv_inplace(|value| f16::from_f64(value).to_f64()),
            StateFormat::Bf16 => states.mapv_inplace(|value| bf16::from_f64(value).to_f64()),
            StateFormat::Int8(scale) => return scale.round(states, 127.0),
            StateFormat::Int4(scale) => return scale.round(states, 7.0),
        }
        vec![0.0; states.nrows()]
    }

    /// The number format in which the values are exact after rounding, as far as it says how far they were rounded.
    pub fn dtype(self) -> SourceDtype {
        match self {
            StateFormat::F16 => SourceDtype::F16,
            StateFormat::Bf16 => SourceDtype::BF16,
            StateFormat::Int8(_) | StateFormat::Int4(_) => SourceDtype::F64,
        }
    }
}

impl ScaledBy {
    /// Rounds to whole multiples of a `steps`th of the largest magnitude; half a step for each row.
    fn round(self, states: &mut Array2<f64>, steps: f64) -> Vec<f64> {
        let round = |mut part: ArrayViewMut2<'_, f64>| {
            let step = part.iter().fold(0.0, |largest: f64, value| largest.max(value.abs())) / steps;
            if step > 0.0 {
                part.mapv_inplace(|value| (value / step).round_ties_even() * step);
            }
            step / 2.0
        };
        match self {
            ScaledBy::Row => states.axis_chunks_iter_mut(Axis(0), 1).map(round).collect(),
            ScaledBy::Tensor => vec![round(states.view_mut()); states.nrows()],
        }
    }
}

impl fmt::Display for StateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StateFormat::F16 => "f16",
            StateFormat::Bf16 => "bf16",
            StateFormat::Int8(ScaledBy::Row) => "int8-row",
            StateFormat::Int8(ScaledBy::Tensor) => "int8-tensor",
            StateFormat::Int4(ScaledBy::Row) => "int4-row",
            StateFormat::Int4(ScaledBy::Tensor) => "int4-tensor",
        })
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
        let rows = StateFormat::Int8(ScaledBy::Row).round(&mut by_row);
        let tensor = StateFormat::Int8(ScaledBy::Tensor).round(&mut by_tensor);
        assert_eq!(by_tensor, arr2(&[[1000.0, 0.0], [0.0, 0.0]]));
        assert_eq!(by_row[[1, 1]], 51.0 / 127.0);
        assert_eq!((rows[1], tensor[0], tensor[1]), (0.5 / 127.0, 500.0 / 127.0, 500.0 / 127.0));
    }

    proptest! {
        #[test]
        fn no_coordinate_moves_farther_than_it_is_said_to(
            values in prop::collection::vec(-3e4_f64..3e4, 12),
            format in prop::sample::select(StateFormat::ALL.to_vec()),
        ) {
            let states = Array2::from_shape_vec((3, 4), values).unwrap();
            let mut rounded = states.clone();
            let half_steps = format.round(&mut rounded);
            for ((row, column), value) in rounded.indexed_iter() {
                let bound = half_steps[row] + format.dtype().rounding_error(*value);
                prop_assert!((value - states[[row, column]]).abs() <= bound * (1.0 + 1e-9));
            }
        }
    }
}
