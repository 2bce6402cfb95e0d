//! The result of a search for a tap.

use crate::{models::Tap, tuning::TAP_OTHER_WEIGHTS};

/// The result of a search for the tap of states.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoundTap {
    /// The states are those of this tap: there a token fits the first state, or is much nearer to it than all others tested.
    At(Tap),
    /// No token tested fits at any tap tried. None if no candidate could be compared.
    Nowhere(Option<NearMiss>),
    /// No token tested fitted at any tap tried before the time was up. None if no candidate could be compared.
    TimeUp(Option<NearMiss>),
}

/// The tap at which a token came nearest to a state, relative to the length of the state, where none fits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NearMiss {
    /// The tap at which the token was compared.
    pub tap: Tap,
    /// The distance of the nearest token's state.
    pub distance: f64,
    /// The distance within which it would fit.
    pub floor: f64,
    /// The distance as a share of the length of the state.
    pub share: f64,
}

impl NearMiss {
    /// Whether the states are probably those of the same model with other weights, such as rounded ones.
    ///
    /// The states of another model are about as far from those of all tokens as they are long.
    pub fn is_of_other_weights(&self) -> bool {
        self.share < TAP_OTHER_WEIGHTS
    }
}
