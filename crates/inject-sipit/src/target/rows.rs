//! Some rows of the states, or rows in another order.

use ndarray::Axis;

use super::{TargetStates, change::Stored};

impl TargetStates {
    /// The states of the positions before `end`, of which the first have these tokens.
    pub(crate) fn part(&self, end: usize, given: &[u32]) -> Self {
        let rows: Vec<usize> = (0..end).collect();
        TargetStates {
            given: given.to_vec(),
            sequence_len: Some(self.sequence_len()),
            missing: self.missing.iter().copied().take_while(|&missing| missing < end).collect(),
            ..self.selected(&rows)
        }
    }

    /// Some of these states in another order. Each of them was looked for at every position.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        TargetStates { sequence_len: Some(self.sequence_len()), places: order.len(), ..self.selected(order) }
    }

    /// The same states with that of one position at another too.
    pub(crate) fn with_row_at(&self, from: usize, to: usize) -> Self {
        let rows: Vec<usize> = (0..self.positions()).map(|row| if row == to { from } else { row }).collect();
        let mut changed = self.selected(&rows);
        changed.missing.retain(|&missing| missing != to);
        changed
    }

    /// The states of these rows, each with all that is known of it by itself.
    fn selected(&self, rows: &[usize]) -> Self {
        let each = |values: &[f64]| rows.iter().map(|&row| values[row]).collect::<Vec<_>>();
        TargetStates {
            states: self.states.select(Axis(0), rows),
            half_steps: self.half_steps.as_deref().map(each),
            stored: self.stored.as_ref().map(|stored| Stored {
                divided_by: each(&stored.divided_by),
                roundings: stored.roundings.select(Axis(0), rows),
                grid: stored.grid,
            }),
            ..self.clone()
        }
    }

    /// The number of places that each state might have had.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// The same states with another one at the first position.
    pub(crate) fn with_first(&self, state: &[f64]) -> Self {
        let mut changed = self.clone();
        changed.states.row_mut(0).iter_mut().zip(state).for_each(|(value, state)| *value = *state);
        changed
    }
}
