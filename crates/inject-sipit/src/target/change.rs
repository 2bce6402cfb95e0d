//! States that a producer changed: the change is undone, or made to candidates too.

use ndarray::Array2;

use super::TargetStates;
use crate::{
    collisions::norm,
    error::InvertError,
    models::FloatFormat,
    transformation::{Coordinates, Transformation, mean},
    tuning::CENTRED_WITHIN,
};

/// Facts about the states as they were stored, before a change of the producer was undone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// The number by which each state was divided.
    pub(super) divided_by: Vec<f64>,
    /// The largest shift of each coordinate by rounding, divided too.
    pub(super) roundings: Array2<f64>,
    /// The 16-bit format on whose grid all of them lay.
    pub(super) grid: Option<FloatFormat>,
}

impl TargetStates {
    /// The change that the producer made to all states.
    pub fn transformation(&self) -> &Transformation {
        &self.transformation
    }

    /// Marks the states as those of the model with the mean over its coordinates subtracted from each, as TransformerLens writes them.
    /// Candidates are compared without their means.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, Transformation, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let target = TargetStates::new(array![[1.0, 3.0]], Tap::Block(1), FloatFormat::F32)?.centred();
    /// assert_eq!(target.state(0), [-1.0, 1.0]);
    /// assert_eq!(*target.transformation(), Transformation::Centred);
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn centred(self) -> Self {
        let by = vec![1.0; self.positions()];
        let mut changed = self.changed(by, Transformation::Centred);
        changed.states.outer_iter_mut().for_each(|mut row| {
            let mean = row.mean().unwrap_or(0.0);
            row.mapv_inplace(|value| value - mean);
        });
        changed
    }

    /// Undoes a multiplication of all states by one number, which is known but for a relative error of at most `within`. The states
    /// that [`TargetStates::after`] computed are not changed.
    ///
    /// # Errors
    ///
    /// [`InvertError::Scale`] unless the number is positive and finite.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let target = TargetStates::new(array![[1.0, 3.0]], Tap::Block(1), FloatFormat::F32)?.scaled(0.5, 0.0)?;
    /// assert_eq!(target.state(0), [2.0, 6.0]);
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn scaled(self, by: f64, within: f64) -> Result<Self, InvertError> {
        if !(by.is_finite() && by > 0.0 && within.is_finite() && within >= 0.0) {
            return Err(InvertError::Scale { found: by });
        }
        let computed = self.computed;
        let by_row = (0..self.positions()).map(|position| if position < computed { 1.0 } else { by });
        let by_row = by_row.collect();
        Ok(self.changed(by_row, Transformation::Scaled { by, within }))
    }

    /// Whether every given state has length 1, as far as bf16 shows: each was divided by its length.
    pub(crate) fn has_unit_lengths(&self) -> bool {
        /// Rounding to bf16 moves a coordinate by up to 2^-8 of it, and a length by less.
        const WITHIN: f64 = 4e-3;
        let mut given = (self.computed..self.positions()).filter(|at| !self.missing.contains(at));
        given.all(|at| (norm(self.state(at)) - 1.0).abs() < WITHIN)
    }

    /// Divides every state by its length, because it was multiplied by an unknown number. Candidates are compared by their direction.
    pub fn by_direction(self) -> Self {
        let lengths = self.states.outer_iter().map(|state| norm(&state.to_vec()).max(f64::MIN_POSITIVE));
        let lengths = lengths.collect();
        self.changed(lengths, Transformation::Direction)
    }

    /// The states with their coordinates in the order of the model's, as far as it is known. States that were computed are in that order.
    pub(crate) fn permuted(self, coordinates: &Coordinates) -> Self {
        let (by, computed) = (vec![1.0; self.positions()], self.computed);
        let transformation = Transformation::Permuted { coordinates: coordinates.clone() };
        let mut permuted = self.changed(by, transformation);
        let restore = |rows: &mut Array2<f64>, restored: &dyn Fn(&[f64]) -> Vec<f64>| {
            for mut row in rows.outer_iter_mut().skip(computed) {
                let values = restored(&row.to_vec());
                row.iter_mut().zip(values).for_each(|(to, from)| *to = from);
            }
        };
        restore(&mut permuted.states, &|row| coordinates.restored(row));
        if let Some(stored) = &mut permuted.stored {
            // Within a group any coordinate may have the largest error.
            restore(&mut stored.roundings, &|row| coordinates.largest(row));
        }
        permuted
    }

    /// The states divided by a number each, with what was known of them before.
    fn changed(self, divided_by: Vec<f64>, transformation: Transformation) -> Self {
        let mut roundings = Array2::zeros(self.states.dim());
        for (position, (mut row, by)) in roundings.outer_iter_mut().zip(&divided_by).enumerate() {
            row.iter_mut().zip(self.roundings(position)).for_each(|(to, from)| *to = from / by);
        }
        let stored = Some(Stored { grid: self.grid(), divided_by, roundings });
        let mut changed = TargetStates { transformation, stored, ..self };
        if let Some(Stored { divided_by, .. }) = &changed.stored {
            let rows = changed.states.outer_iter_mut().zip(divided_by);
            rows.for_each(|(mut row, by)| row.mapv_inplace(|value| value / by));
        }
        changed
    }

    /// A distance of stored states in the unit of the states.
    pub(crate) fn in_units(&self, position: usize, distance: f64) -> f64 {
        self.stored.as_ref().map_or(distance, |stored| distance / stored.divided_by[position])
    }

    /// Returns whether the mean over the coordinates of each state is zero up to rounding, the sum of independent errors. States that were
    /// computed here, of given tokens, do not count.
    pub(crate) fn has_no_means(&self) -> bool {
        let known = |position: &usize| !self.missing.contains(position);
        (self.computed..self.positions()).filter(known).all(|position| {
            let state = self.state(position);
            let spread = norm(state) / (state.len() as f64).sqrt();
            let rounding: Vec<f64> = self.roundings(position).collect();
            // The mean of a state with a coordinate beyond its format is not known.
            let rounded = norm(&rounding) / state.len() as f64;
            spread > 0.0
                && rounded.is_finite()
                && mean(state).abs() <= CENTRED_WITHIN * spread + 4.0 * rounded
        })
    }
}
