//! The closest pairs of all.

/// Two rows and their distance.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pair {
    /// The first row, counted from 0.
    pub a: usize,
    /// The second row, which comes after the first.
    pub b: usize,
    /// The distance, computed directly in f64 from the stored rows.
    pub distance: f64,
}

impl Pair {
    fn key(&self) -> (f64, usize, usize) {
        (self.distance, self.a, self.b)
    }
}

/// The `k` closest pairs, and among how many they are.
///
/// The order is by distance and, among equal ones, by row: it does not depend on the order of the search, and the results of
/// disjoint sets of pairs merge into that of all.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClosestPairs {
    /// The closest first.
    pub pairs: Vec<Pair>,
    /// How many were asked for. There are fewer only if fewer pairs count.
    pub k: usize,
    /// How many pairs count, and so were decided on.
    pub decided: u64,
    /// How many of these were computed directly in f64; a bound excluded the others.
    pub computed: u64,
}

impl ClosestPairs {
    /// No pairs so far.
    pub fn keeping(k: usize) -> Self {
        ClosestPairs { pairs: Vec::new(), k, decided: 0, computed: 0 }
    }

    /// The closest pair: the global minimum.
    pub fn minimum(&self) -> Option<Pair> {
        self.pairs.first().copied()
    }

    /// Takes the closest pairs among other pairs into account. Fewer than `k` may have been kept there only if that were all.
    pub fn merge(&mut self, other: &ClosestPairs) {
        other.pairs.iter().for_each(|&pair| self.push(pair));
        self.decided += other.decided;
        self.computed += other.computed;
    }

    /// Keeps the pair if it is among the closest, once.
    pub(crate) fn push(&mut self, pair: Pair) {
        let place = self.pairs.partition_point(|held| held.key() < pair.key());
        if place < self.k && self.pairs.get(place) != Some(&pair) {
            self.pairs.insert(place, pair);
            self.pairs.truncate(self.k);
        }
    }

    /// A pair farther than this cannot be among the closest.
    pub(crate) fn radius(&self) -> f64 {
        match self.k.checked_sub(1).map(|last| self.pairs.get(last)) {
            Some(Some(last)) => last.distance,
            Some(None) => f64::INFINITY,
            None => f64::NEG_INFINITY,
        }
    }
}
