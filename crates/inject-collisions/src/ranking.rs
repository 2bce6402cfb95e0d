//! The nearest of many candidates.

/// A candidate and the distance of its state from the target.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ranked {
    /// The token id of the candidate.
    pub id: u32,
    /// The L2 distance, in f64.
    pub distance: f64,
}

/// The nearest candidates so far, and the number of candidates tested.
///
/// Candidates are ordered by distance and, at equal distances, by id. So the ranking does not depend on the order of testing,
/// and rankings of disjoint sets of candidates merge into the ranking of their union.
///
/// # Example
///
/// ```
/// use inject_collisions::Ranking;
///
/// let mut ranking = Ranking::keeping(2);
/// for (id, distance) in [(7, 3.0), (8, 0.5), (9, 2.0)] {
///     ranking.push(id, distance);
/// }
/// assert_eq!(ranking.nearest().map(|ranked| ranked.id), Some(8));
/// assert_eq!(ranking.margin(), Some(1.5));
/// assert_eq!(ranking.tested(), 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    kept: Vec<Ranked>,
    keep: usize,
    tested: usize,
}

impl Ranking {
    /// Creates an empty ranking that keeps the `keep` nearest candidates.
    ///
    /// # Panics
    ///
    /// Panics if `keep` is less than 2, because a margin needs a runner-up.
    pub fn keeping(keep: usize) -> Self {
        assert!(keep >= 2, "a ranking of {keep}: expected at least 2, the nearest and the runner-up");
        Ranking { kept: Vec::new(), keep, tested: 0 }
    }

    /// Adds a candidate. NaN ranks last.
    pub fn push(&mut self, id: u32, distance: f64) {
        self.tested += 1;
        let distance = if distance.is_nan() { f64::INFINITY } else { distance };
        let after = |held: &Ranked| (held.distance, held.id) <= (distance, id);
        let place = self.kept.partition_point(after);
        if place < self.keep {
            self.kept.insert(place, Ranked { id, distance });
            self.kept.truncate(self.keep);
        }
    }

    /// Counts a candidate as tested that is known to be farther away than the nearest ones that are kept in the end.
    pub fn pass_over(&mut self) {
        self.tested += 1;
    }

    /// Adds all candidates of another ranking.
    pub fn merge(&mut self, other: &Ranking) {
        let tested = self.tested + other.tested;
        for ranked in &other.kept {
            self.push(ranked.id, ranked.distance);
        }
        self.tested = tested;
    }

    /// Returns the kept candidates, nearest first.
    pub fn kept(&self) -> &[Ranked] {
        &self.kept
    }

    /// Returns the nearest candidate, if any was tested.
    pub fn nearest(&self) -> Option<Ranked> {
        self.kept.first().copied()
    }

    /// Returns the second nearest candidate.
    pub fn runner_up(&self) -> Option<Ranked> {
        self.kept.get(1).copied()
    }

    /// Returns the distance of the runner-up minus that of the nearest candidate.
    pub fn margin(&self) -> Option<f64> {
        Some(self.runner_up()?.distance - self.nearest()?.distance)
    }

    /// Returns the kept candidates whose distance is at most `radius`, nearest first.
    pub fn within(&self, radius: f64) -> &[Ranked] {
        &self.kept[..self.kept.partition_point(|ranked| ranked.distance <= radius)]
    }

    /// Returns the number of candidates tested.
    pub fn tested(&self) -> usize {
        self.tested
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranking(candidates: &[(u32, f64)], keep: usize) -> Ranking {
        let mut ranking = Ranking::keeping(keep);
        candidates.iter().for_each(|&(id, distance)| ranking.push(id, distance));
        ranking
    }

    #[test]
    fn equal_distances_rank_by_id_in_whatever_order_they_come() {
        assert_eq!(ranking(&[(5, 1.0), (2, 1.0), (9, 1.0)], 2), ranking(&[(9, 1.0), (2, 1.0), (5, 1.0)], 2));
    }

    #[test]
    #[should_panic(expected = "a ranking of 1: expected at least 2")]
    fn a_ranking_without_a_runner_up_is_refused() {
        Ranking::keeping(1);
    }

    #[test]
    fn nan_never_wins() {
        assert_eq!(ranking(&[(1, f64::NAN), (2, 7.0)], 2).nearest().unwrap().id, 2);
    }

    proptest! {
        #[test]
        fn the_kept_are_the_smallest_of_a_full_sort(
            distances in prop::collection::vec(0_u8..20, 0..60), keep in 2_usize..9
        ) {
            let mut all: Vec<(u32, f64)> = distances.iter().enumerate().map(|(i, d)| (i as u32, f64::from(*d))).collect();
            let found = ranking(&all, keep);
            all.sort_by(|a, b| (a.1, a.0).partial_cmp(&(b.1, b.0)).unwrap());
            let kept: Vec<(u32, f64)> = found.kept().iter().map(|r| (r.id, r.distance)).collect();
            prop_assert_eq!(&kept[..], &all[..keep.min(all.len())]);
        }

        #[test]
        fn rankings_of_parts_merge_into_the_ranking_of_the_whole(
            distances in prop::collection::vec(0_u8..20, 1..60), cut in 0_usize..60
        ) {
            let all: Vec<(u32, f64)> = distances.iter().enumerate().map(|(i, d)| (i as u32, f64::from(*d))).collect();
            let (left, right) = all.split_at(cut.min(all.len()));
            let mut merged = ranking(left, 4);
            merged.merge(&ranking(right, 4));
            prop_assert_eq!(merged, ranking(&all, 4));
        }
    }
}
