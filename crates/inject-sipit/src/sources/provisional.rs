//! Distances measured by drafts at open positions.

use std::collections::BTreeMap;

use crate::collisions::Ranked;

/// The distances of tokens at open positions, computed after drafted tokens that may be wrong.
///
/// They verify nothing. But a right token is usually nearer than wrong ones, even after a few wrong tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provisional {
    positions: BTreeMap<usize, Vec<Ranked>>,
}

impl Provisional {
    /// Returns the tokens computed at a position and their distances, nearest first.
    pub fn at(&self, position: usize) -> &[Ranked] {
        self.positions.get(&position).map_or(&[], Vec::as_slice)
    }

    /// Returns `true` if no distance was recorded.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Returns an iterator over the positions with computed tokens, and the tokens of each, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[Ranked])> {
        self.positions.iter().map(|(position, here)| (*position, here.as_slice()))
    }

    /// Records a distance. It replaces an earlier distance of the same token, because that was computed after a worse prefix.
    pub(crate) fn record(&mut self, position: usize, measured: Ranked) {
        let here = self.positions.entry(position).or_default();
        here.retain(|known| known.id != measured.id);
        let place = here.partition_point(|known| known.distance <= measured.distance);
        here.insert(place, measured);
    }

    /// Removes the positions before this one, because they are settled.
    pub(crate) fn forget_before(&mut self, position: usize) {
        self.positions = self.positions.split_off(&position);
    }
}
