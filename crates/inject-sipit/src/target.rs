//! The states to invert.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Tensor, TensorData};
use inject_collisions::{Decoder, ModelError, Tap, foreign::SourceDtype};
use ndarray::{Array2, ArrayView2};

use crate::InvertError;

/// The states of one prompt at one tap, position by position: the input of an inversion.
#[derive(Clone, Debug)]
pub struct TargetStates {
    states: Array2<f64>,
    tap: Tap,
    dtype: SourceDtype,
    /// How far even steps may have moved each coordinate of each position, beside what the dtype says.
    half_steps: Option<Vec<f64>>,
    /// Tells apart what was computed for one target from what was computed for another.
    id: u64,
}

/// The next target's id.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl TargetStates {
    /// States of all positions of one prompt, shape `[positions, d_model]`, and the number format they were stored in,
    /// which says how far rounding may have moved them.
    ///
    /// An infinity in f16 is a coordinate that exceeded that format: nothing but that is known of it, and the others decide.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when there is no state, a value is not finite or beyond the range of f32, in which no model computes it, or
    /// nothing of a state is left within the range of its format.
    pub fn new(states: Array2<f64>, tap: Tap, dtype: SourceDtype) -> Result<Self, InvertError> {
        if states.is_empty() {
            return Err(InvertError::NoStates);
        }
        let mut states = states.as_standard_layout().into_owned();
        states.mapv_inplace(|value| dtype.within_range(value));
        for ((position, coordinate), &found) in states.indexed_iter() {
            if !found.is_finite() {
                return Err(InvertError::NotFinite { position, coordinate, found });
            }
            if found.abs() > f64::from(f32::MAX) {
                return Err(InvertError::OutOfRange { position, coordinate, found });
            }
        }
        let unknown = |value: &f64| dtype.rounding_error(*value).is_infinite();
        if let Some(position) = states.outer_iter().position(|state| state.iter().all(unknown)) {
            return Err(InvertError::NotFinite { position, coordinate: 0, found: f64::INFINITY });
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(TargetStates { states, tap, dtype, half_steps: None, id })
    }

    /// The same states, known to have been rounded to even steps: `half_steps` has half a step for each position, as
    /// [`StateFormat::round`](crate::StateFormat::round) gives it.
    ///
    /// # Errors
    ///
    /// [`InvertError::HalfSteps`] unless there is one for each position, and [`InvertError::Tolerance`] for one that is no size.
    pub fn rounded_by(self, half_steps: Vec<f64>) -> Result<Self, InvertError> {
        let (found, expected) = (half_steps.len(), self.positions());
        if found != expected {
            return Err(InvertError::HalfSteps { found, expected });
        }
        match half_steps.iter().find(|half_step| !(half_step.is_finite() && **half_step >= 0.0)) {
            None => Ok(TargetStates { half_steps: Some(half_steps), ..self }),
            Some(&found) => Err(InvertError::Tolerance { found }),
        }
    }

    /// How many positions.
    pub fn positions(&self) -> usize {
        self.states.nrows()
    }

    /// Width of a state.
    pub fn d_model(&self) -> usize {
        self.states.ncols()
    }

    /// Where they were read.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// The states, shape `[positions, d_model]`. An f16 infinity comes back as +-65,520, the least magnitude that f16 rounds to infinity.
    pub fn states(&self) -> ArrayView2<'_, f64> {
        self.states.view()
    }

    /// A number that no other target has; clones share it, as they share their states.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The state of one position, `d_model` numbers.
    ///
    /// # Panics
    ///
    /// If there is no such position.
    pub fn state(&self, position: usize) -> &[f64] {
        let d_model = self.d_model();
        let values = self.states.as_slice().expect("made contiguous when the target was made");
        &values[position * d_model..][..d_model]
    }

    /// How far storing the state in its number format can have moved each coordinate.
    pub(crate) fn roundings(&self, position: usize) -> impl Iterator<Item = f64> {
        let half_step = self.half_steps.as_ref().map_or(0.0, |half_steps| half_steps[position]);
        self.state(position).iter().map(move |&value| self.dtype.rounding_error(value) + half_step)
    }

    /// The state of one position on a decoder's device, in its dtype. Shape `[1, d_model]`.
    pub(crate) fn row_tensor(&self, position: usize, decoder: &Decoder) -> Tensor<2> {
        let data = TensorData::new(self.state(position).to_vec(), [1, self.d_model()]);
        Tensor::from_data(data.convert_dtype(decoder.dtype()), (&decoder.device(), decoder.dtype()))
    }

    /// Checks the states against the model they are said to come from.
    pub(crate) fn check(&self, d_model: usize, n_layers: usize) -> Result<(), InvertError> {
        self.tap.checked(n_layers).map_err(ModelError::from)?;
        if self.d_model() == d_model {
            Ok(())
        } else {
            Err(InvertError::Width { found: self.d_model(), expected: d_model })
        }
    }
}
