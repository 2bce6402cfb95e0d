//! Changes that a producer made to all states of a prompt alike.

mod coordinates;

use std::borrow::Cow;

pub use self::coordinates::Coordinates;

use crate::collisions::norm;

/// A change that the producer made to every state of a prompt.
///
/// The states of candidates are changed in the same way before they are compared, or the change is undone on the given states. Either
/// way a distance is not larger than that of the unchanged states, so the bounds on noise hold: docs/numerics.md, section 8.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Transformation {
    /// The states are those that the model computes.
    #[default]
    None,
    /// The mean over its coordinates was subtracted from each state. This is what TransformerLens does to models with LayerNorm, which
    /// compute the same afterwards.
    Centred,
    /// Each state was multiplied by a positive number that is not known. Only its direction is compared.
    Direction,
    /// All states were multiplied by one positive number, and are divided by it again.
    Scaled {
        /// The number that each coordinate was multiplied by.
        by: f64,
        /// Upper bound on its relative error.
        within: f64,
    },
    /// The coordinates of all states were permuted in the same way. Where their order is unknown, values are compared in order of size.
    Permuted {
        /// The order, as far as it is known.
        coordinates: Coordinates,
    },
}

impl Transformation {
    /// Whether the states of candidates are changed before they are compared.
    pub(crate) fn changes_candidates(&self) -> bool {
        !matches!(self, Transformation::None | Transformation::Scaled { .. })
    }

    /// Changes the states of candidates, `width` numbers each, as the given states were.
    pub(crate) fn apply(&self, states: &mut [f64], width: usize) {
        match self {
            Transformation::None | Transformation::Scaled { .. } => {}
            Transformation::Centred => states.chunks_mut(width).for_each(centre),
            Transformation::Permuted { coordinates } => {
                states.chunks_mut(width).for_each(|state| coordinates.sort(state));
            }
            Transformation::Direction => states.chunks_mut(width).for_each(|state| {
                let length = norm(state).max(f64::MIN_POSITIVE);
                state.iter_mut().for_each(|value| *value /= length);
            }),
        }
    }

    /// The changed states of candidates. They are not copied if nothing changes.
    pub(crate) fn changed<'a>(&self, states: &'a [f64], width: usize) -> Cow<'a, [f64]> {
        if !self.changes_candidates() {
            return Cow::Borrowed(states);
        }
        let mut changed = states.to_vec();
        self.apply(&mut changed, width);
        Cow::Owned(changed)
    }

    /// Upper bound on the relative error of all states.
    pub(crate) fn error(&self) -> f64 {
        match self {
            Transformation::Scaled { within, .. } => *within,
            _ => 0.0,
        }
    }
}

/// The mean over the coordinates of a state.
pub(crate) fn mean(state: &[f64]) -> f64 {
    state.iter().sum::<f64>() / state.len() as f64
}

/// Subtracts the mean over its coordinates from a state.
pub(crate) fn centre(state: &mut [f64]) {
    let mean = mean(state);
    state.iter_mut().for_each(|value| *value -= mean);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collisions::distance;

    proptest! {
        #[test]
        fn no_change_moves_two_states_farther_apart(
            pairs in proptest::collection::vec((-9.0_f64..9.0, -9.0_f64..9.0), 2..40),
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            prop_assume!(norm(&a) > 1e-3 && norm(&b) > 1e-3);
            let (width, apart) = (a.len(), distance(&a, &b));
            let changed = |change: &Transformation| {
                distance(&change.changed(&a, width), &change.changed(&b, width))
            };
            let rounding = 1e-12;
            prop_assert!(changed(&Transformation::Centred) <= apart + rounding);
            // Of directions, relative to the lengths.
            let relative = apart / (norm(&a) * norm(&b)).sqrt();
            prop_assert!(changed(&Transformation::Direction) <= relative + rounding);
        }
    }

    #[test]
    fn a_state_that_nothing_changed_is_not_copied() {
        let scaled = Transformation::Scaled { by: 2.0, within: 0.0 };
        for unchanged in [Transformation::None, scaled] {
            assert!(matches!(unchanged.changed(&[1.0, 2.0], 2), Cow::Borrowed([1.0, 2.0])));
        }
    }
}
