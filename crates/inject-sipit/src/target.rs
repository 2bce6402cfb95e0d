//! The states to invert.

use inject_collisions::{ModelError, Tap, foreign::SourceDtype};
use ndarray::{Array2, ArrayView2};

use crate::InvertError;

/// The states of one prompt at one tap, position by position: what somebody has, who wants the prompt.
#[derive(Clone, Debug)]
pub struct TargetStates {
    states: Array2<f64>,
    tap: Tap,
    dtype: SourceDtype,
}

impl TargetStates {
    /// States of all positions of one prompt, shape `[positions, d_model]`, and the number format they were stored in,
    /// which says how far rounding may have moved them.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when there is no state, or a value is not finite.
    pub fn new(states: Array2<f64>, tap: Tap, dtype: SourceDtype) -> Result<Self, InvertError> {
        if states.is_empty() {
            return Err(InvertError::NoStates);
        }
        match states.indexed_iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(TargetStates { states, tap, dtype }),
            Some(((position, coordinate), &found)) => {
                Err(InvertError::NotFinite { position, coordinate, found })
            }
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

    /// The states, shape `[positions, d_model]`.
    pub fn states(&self) -> ArrayView2<'_, f64> {
        self.states.view()
    }

    /// The state of one position.
    pub(crate) fn state(&self, position: usize) -> Vec<f64> {
        self.states.row(position).to_vec()
    }

    /// The farthest, in L2, that storing the state in its number format can have moved it.
    pub(crate) fn rounding(&self, position: usize) -> f64 {
        let square = |&value: &f64| self.dtype.rounding_error(value).powi(2);
        self.states.row(position).iter().map(square).sum::<f64>().sqrt()
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
