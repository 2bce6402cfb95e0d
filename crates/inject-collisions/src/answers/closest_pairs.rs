//! The closest pairs of all.

/// Two rows and their distance.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Pair {
    /// The first row, counted from 0.
    pub a: usize,
    /// The second row, which comes after the first.
    pub b: usize,
    /// The distance, computed directly in f64 from the stored rows.
    pub distance: f64,
}

impl Pair {
    /// Creates a pair of row `a`, row `b` after it, and their distance.
    pub const fn new(a: usize, b: usize, distance: f64) -> Self {
        Pair { a, b, distance }
    }

    fn key(&self) -> (f64, usize, usize) {
        (self.distance, self.a, self.b)
    }
}

/// The `k` closest pairs of a set of pairs.
///
/// They are ordered by distance and, at equal distances, by row. So they do not depend on the order of the search, and the
/// results of disjoint sets of pairs merge into the result of all.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ClosestPairs {
    /// The pairs, the closest first.
    pub pairs: Vec<Pair>,
    /// The number of pairs requested. `pairs` is shorter only if fewer pairs count.
    pub k: usize,
    /// The number of pairs that count. All of them were examined.
    pub decided: u64,
    /// The number of distances computed directly in f64. The remaining pairs were excluded by bounds.
    pub computed: u64,
}

impl ClosestPairs {
    /// Creates an empty list that keeps the `k` closest of the pairs added to it.
    pub fn keeping(k: usize) -> Self {
        ClosestPairs { pairs: Vec::new(), k, decided: 0, computed: 0 }
    }

    /// Returns the closest pair, whose distance is the global minimum.
    pub fn minimum(&self) -> Option<Pair> {
        self.pairs.first().copied()
    }

    /// Adds the closest pairs of a disjoint set of pairs. If the other list keeps fewer than `k` pairs, it must hold all pairs of
    /// its set.
    pub fn merge(&mut self, other: &ClosestPairs) {
        other.pairs.iter().for_each(|&pair| self.push(pair));
        self.decided += other.decided;
        self.computed += other.computed;
    }

    /// Adds the pair if it is among the closest and not already in the list.
    pub(crate) fn push(&mut self, pair: Pair) {
        let place = self.pairs.partition_point(|held| held.key() < pair.key());
        if place < self.k && self.pairs.get(place) != Some(&pair) {
            self.pairs.insert(place, pair);
            self.pairs.truncate(self.k);
        }
    }

    /// Returns the distance beyond which a pair cannot be among the closest.
    pub(crate) fn radius(&self) -> f64 {
        match self.k.checked_sub(1).map(|last| self.pairs.get(last)) {
            Some(Some(last)) => last.distance,
            Some(None) => f64::INFINITY,
            None => f64::NEG_INFINITY,
        }
    }
}
