//! A prompt with gaps, as far as it is recovered.

use crate::{
    cost::Cost,
    inversion::{Position, Producer, Verdict},
    inverter::watch::Watch,
    target::TargetStates,
};

/// A prompt with gaps, as far as it is recovered.
pub(super) struct Bridged {
    pub(super) target: TargetStates,
    pub(super) ids: Vec<u32>,
    pub(super) positions: Vec<Position>,
    pub(super) producer: Option<Producer>,
    pub(super) cost: Cost,
    pub(super) watch: Watch,
}

impl Bridged {
    pub(super) fn is_missing(&self, position: usize) -> bool {
        self.target.missing().contains(&position)
    }

    /// The number of missing positions in succession from here on.
    pub(super) fn missing_from(&self, position: usize) -> usize {
        (position..self.target.positions()).take_while(|&at| self.is_missing(at)).count()
    }

    /// The next position that has a state.
    pub(super) fn known_after(&self, position: usize) -> Option<usize> {
        (position..self.target.positions()).find(|&at| !self.is_missing(at))
    }

    /// Leaves all further positions open. `guesses` has a token for some of the first ones.
    pub(super) fn leave_open(&mut self, guesses: &[Option<u32>]) {
        let begin = self.positions.len();
        for position in begin..self.target.positions() {
            let guess = guesses.get(position - begin).copied().flatten();
            self.positions.push(Position {
                position,
                verdict: Verdict::Open { guess },
                kept: None,
                candidates_tested: 0,
                ruled_out: Vec::new(),
            });
        }
    }
}
