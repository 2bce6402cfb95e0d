//! What the search asks of a question about small distances.

use crate::{Below, ClosestPairs, Neighbour, Neighbours, Pair, PairsBelow};

/// How far a question still looks after a pair was taken into account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Radius {
    /// As far as before.
    Same,
    /// For the two rows of the pair, no farther than their distance.
    Pair,
    /// For all rows, no farther than this.
    All(f64),
}

/// A question that only pairs closer than some radius matter to.
///
/// Tiles of pairs are looked at side by side; each collects a part, and the parts are merged between them. A radius that is
/// out of date is too large, which costs time and nothing else.
pub(super) trait Question: Sync {
    /// What one tile collects.
    type Part: Send;

    /// Whether a pair brings down how far its rows look. Such a question can take a pair twice: the second time changes nothing.
    const NARROWS: bool;

    /// Farther than this, a pair does not matter to this row.
    fn radius(&self, row: usize) -> f64;

    /// What a tile begins with.
    fn part(&self) -> Self::Part;

    /// Takes a pair into account.
    fn take(part: &mut Self::Part, pair: Pair) -> Radius;

    /// Takes a tile into account, with the number of pairs computed in it.
    fn merge(&mut self, part: Self::Part, computed: u64);
}

impl Question for ClosestPairs {
    type Part = ClosestPairs;

    const NARROWS: bool = true;

    fn radius(&self, _: usize) -> f64 {
        self.radius()
    }

    fn part(&self) -> ClosestPairs {
        ClosestPairs { decided: 0, computed: 0, ..self.clone() }
    }

    fn take(part: &mut ClosestPairs, pair: Pair) -> Radius {
        part.push(pair);
        Radius::All(part.radius())
    }

    fn merge(&mut self, part: ClosestPairs, computed: u64) {
        // The part began with pairs of the whole, which are not kept twice.
        part.pairs.into_iter().for_each(|pair| self.push(pair));
        self.computed += computed;
    }
}

impl Question for Neighbours {
    type Part = Vec<Pair>;

    const NARROWS: bool = true;

    fn radius(&self, row: usize) -> f64 {
        self.nearest[row].map_or(f64::INFINITY, |neighbour| neighbour.distance)
    }

    fn part(&self) -> Vec<Pair> {
        Vec::new()
    }

    fn take(part: &mut Vec<Pair>, pair: Pair) -> Radius {
        part.push(pair);
        Radius::Pair
    }

    fn merge(&mut self, part: Vec<Pair>, computed: u64) {
        for Pair { a, b, distance } in part {
            self.push(a, Neighbour { row: b, distance });
            self.push(b, Neighbour { row: a, distance });
        }
        self.computed += computed;
    }
}

impl Question for PairsBelow {
    type Part = PairsBelow;

    const NARROWS: bool = false;

    fn radius(&self, _: usize) -> f64 {
        self.below.iter().map(|below| below.threshold).fold(f64::NEG_INFINITY, f64::max)
    }

    fn part(&self) -> PairsBelow {
        let below = self.below.iter().map(|below| Below { pairs: 0, ..*below }).collect();
        PairsBelow { below, decided: 0, computed: 0 }
    }

    fn take(part: &mut PairsBelow, pair: Pair) -> Radius {
        part.push(pair.distance);
        Radius::Same
    }

    fn merge(&mut self, part: PairsBelow, computed: u64) {
        PairsBelow::merge(self, &PairsBelow { computed, ..part });
    }
}
