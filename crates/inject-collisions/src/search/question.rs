//! The question that a search answers.

use std::collections::HashMap;

use super::plan::Reach;
use crate::{
    answers::{ClosestPairs, NearestNeighbours, Neighbour, Pair, ThresholdCounts},
    metric::Metric,
    tuning::{AXES, AXES_FOR_FEW_PAIRS},
};

/// The effect of a pair on the radius within which the question still searches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Radius {
    /// The radii do not change.
    Same,
    /// The radius of the two rows is at most the distance of the pair.
    Pair,
    /// The radius of all rows is at most this.
    All(f64),
}

/// A question for which only pairs closer than some radius matter.
///
/// Tiles of pairs are scanned in parallel. Each collects a part of the answer, and the parts are merged between scans. An outdated
/// radius is too large, which costs only time.
pub(super) trait Question: Sync {
    /// The answer among the pairs of one tile.
    type Part: Send;

    /// Whether a pair reduces the radius of its rows. A pair may then be reported twice, and the second report must have no
    /// effect.
    const NARROWS: bool;

    /// The largest number of principal axes worth computing for this question.
    const AXES: usize;

    /// Returns the pairs that have to be examined, as far as this is known before the search.
    fn reach(&self, metric: Metric) -> Reach;

    /// Returns the distance beyond which a pair does not matter to this row.
    fn radius(&self, row: usize) -> f64;

    /// Returns the part with which the scan of a tile begins.
    fn part(&self) -> Self::Part;

    /// Adds a pair to the part of a tile.
    fn take(part: &mut Self::Part, pair: Pair) -> Radius;

    /// Adds the part of a tile and the number of distances computed for it.
    fn merge(&mut self, part: Self::Part, computed: u64);
}

impl Question for ClosestPairs {
    type Part = ClosestPairs;

    const NARROWS: bool = true;
    const AXES: usize = AXES_FOR_FEW_PAIRS;

    fn reach(&self, _: Metric) -> Reach {
        Reach::Closest
    }

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
        // The part began with pairs of the whole answer, which `push` does not add again.
        part.pairs.into_iter().for_each(|pair| self.push(pair));
        self.computed += computed;
    }
}

impl Question for NearestNeighbours {
    /// The nearest row that the tile has for each of its rows. A list of all pairs would grow with the square of the block.
    type Part = HashMap<usize, Neighbour>;

    const NARROWS: bool = true;
    const AXES: usize = AXES;

    fn reach(&self, _: Metric) -> Reach {
        Reach::Neighbour
    }

    fn radius(&self, row: usize) -> f64 {
        self.nearest[row].map_or(f64::INFINITY, |neighbour| neighbour.distance)
    }

    fn part(&self) -> Self::Part {
        HashMap::new()
    }

    fn take(part: &mut Self::Part, Pair { a, b, distance }: Pair) -> Radius {
        for (row, other) in [(a, b), (b, a)] {
            let found = Neighbour { row: other, distance };
            part.entry(row)
                .and_modify(|held| {
                    if found.is_before(held) {
                        *held = found;
                    }
                })
                .or_insert(found);
        }
        Radius::Pair
    }

    fn merge(&mut self, part: Self::Part, computed: u64) {
        for (row, neighbour) in part {
            self.push(row, neighbour);
        }
        self.computed += computed;
    }
}

impl Question for ThresholdCounts {
    type Part = ThresholdCounts;

    const NARROWS: bool = false;
    const AXES: usize = AXES;

    fn reach(&self, metric: Metric) -> Reach {
        let largest = self.counts.iter().map(|count| count.threshold).fold(0.0, f64::max);
        Reach::Fixed(metric.to_points(largest))
    }

    fn radius(&self, _: usize) -> f64 {
        self.counts.iter().map(|count| count.threshold).fold(f64::NEG_INFINITY, f64::max)
    }

    fn part(&self) -> ThresholdCounts {
        self.emptied()
    }

    fn take(part: &mut ThresholdCounts, pair: Pair) -> Radius {
        part.push(pair.distance);
        Radius::Same
    }

    fn merge(&mut self, part: ThresholdCounts, computed: u64) {
        ThresholdCounts::merge(self, &ThresholdCounts { computed, ..part });
    }
}
