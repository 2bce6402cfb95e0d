//! Positions whose state is not known.

use ndarray::Array2;

use super::{TargetStates, change::Stored};
use crate::error::InvertError;

impl TargetStates {
    /// Puts positions without a state among these states. `missing` are positions of the prompt that results.
    ///
    /// # Errors
    ///
    /// [`InvertError::Missing`] if a position is named twice or lies beyond the prompt that results.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let rows = array![[0.5, -1.0], [0.25, 3.0]];
    /// let target = TargetStates::new(rows, Tap::Block(3), FloatFormat::F32)?.with_missing(&[1])?;
    /// assert_eq!((target.positions(), target.state(2)), (3, &[0.25, 3.0][..]));
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn with_missing(self, missing: &[usize]) -> Result<Self, InvertError> {
        let positions = self.positions() + missing.len();
        let mut sorted = missing.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(found) = sorted.last().copied().filter(|&last| last >= positions).or(twice) {
            return Err(InvertError::Missing { found, positions });
        }
        let known: Vec<usize> = (0..positions).filter(|at| sorted.binary_search(at).is_err()).collect();
        let spread = |rows: &Array2<f64>| {
            let mut all = Array2::zeros((positions, rows.ncols()));
            known.iter().zip(rows.outer_iter()).for_each(|(&at, row)| all.row_mut(at).assign(&row));
            all
        };
        let by_position = |values: Vec<f64>, otherwise: f64| {
            let mut all = vec![otherwise; positions];
            known.iter().zip(values).for_each(|(&at, value)| all[at] = value);
            all
        };
        let stored = self.stored.map(|stored| Stored {
            divided_by: by_position(stored.divided_by, 1.0),
            roundings: spread(&stored.roundings),
            ..stored
        });
        let half_steps = self.half_steps.map(|half_steps| by_position(half_steps, 0.0));
        let states = spread(&self.states);
        // Those that were missing before have other numbers now.
        let mut missing = [sorted, self.missing.iter().map(|&at| known[at]).collect()].concat();
        missing.sort_unstable();
        Ok(TargetStates { states, half_steps, stored, missing, ..self })
    }

    /// The positions without a state, in order.
    pub fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// The same states with a computed one at a position that had none.
    pub(crate) fn filled(mut self, position: usize, mut state: Vec<f64>) -> Self {
        self.transformation.apply(&mut state, self.d_model());
        self.states.row_mut(position).iter_mut().zip(state).for_each(|(value, state)| *value = state);
        self.missing.retain(|&missing| missing != position);
        self
    }
}
