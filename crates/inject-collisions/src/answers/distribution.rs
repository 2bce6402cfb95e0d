//! The distribution of the distances of all pairs.

use std::collections::BTreeMap;

/// The pairs that a distribution counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Coverage {
    /// All pairs are counted.
    Exact,
    /// Pairs drawn uniformly, with replacement, from those that count.
    Sampled {
        /// The number of pairs drawn.
        pairs: u64,
        /// The seed of the draw.
        seed: u64,
    },
}

/// A half-open interval that contains a number. If both ends are equal, it contains that point only.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// The smallest number in the interval.
    pub lower: f64,
    /// The upper end, at most 1.6 % above the lower.
    pub upper: f64,
}

/// A histogram of the distances of all pairs, or of a sample of them.
///
/// The bins are the same for all data. A bin is `[m 2^e, (m + 1/64) 2^e)` for an integer `e` and `m = 1, 1 + 1/64, ...`, below 2. Zero
/// has a bin of its own.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Distribution {
    /// The pairs that were counted.
    pub coverage: Coverage,
    /// The number of pairs counted.
    pub pairs: u64,
    /// The number of distances computed directly in f64. For the remaining pairs, bounds determined the bin.
    pub computed: u64,
    /// The number of pairs in each bin that is not empty.
    counts: BTreeMap<u32, u64>,
}

/// The bits of an f64 below those that identify its bin: the 52 bits of the fraction less 6.
const BELOW_BIN: u32 = 46;

impl Distribution {
    pub(crate) fn of(coverage: Coverage) -> Self {
        Distribution { coverage, pairs: 0, computed: 0, counts: BTreeMap::new() }
    }

    /// Returns the bin of a distance. It never decreases as the distance grows.
    pub(crate) fn bin(distance: f64) -> u32 {
        // The bits of non-negative numbers have the same order as the numbers.
        (distance.to_bits() >> BELOW_BIN) as u32
    }

    pub(crate) fn add(&mut self, bin: u32, pairs: u64) {
        if pairs > 0 {
            *self.counts.entry(bin).or_default() += pairs;
            self.pairs += pairs;
        }
    }

    /// Removes one pair that was added.
    pub(crate) fn remove(&mut self, bin: u32) {
        if let Some(pairs) = self.counts.get_mut(&bin) {
            *pairs -= 1;
            self.pairs -= 1;
            if *pairs == 0 {
                self.counts.remove(&bin);
            }
        }
    }

    /// Returns the bins that are not empty, in ascending order, and the number of pairs in each.
    pub fn bins(&self) -> impl Iterator<Item = (Interval, u64)> {
        self.counts.iter().map(|(&bin, &pairs)| (edges(bin), pairs))
    }

    /// Returns the bin of the smallest distance that this share of the pairs does not exceed. Returns `None` if no pair was
    /// counted.
    ///
    /// # Panics
    ///
    /// Panics if the share is not in `0..=1`.
    pub fn quantile(&self, share: f64) -> Option<Interval> {
        assert!((0.0..=1.0).contains(&share), "a share of {share}, expected one from 0 to 1");
        let rank = ((share * self.pairs as f64).ceil() as u64).clamp(1, self.pairs.max(1));
        let mut seen = 0;
        let bin = self.counts.iter().find(|(_, pairs)| {
            seen += **pairs;
            seen >= rank
        });
        bin.map(|(&bin, _)| edges(bin))
    }
}

fn edges(bin: u32) -> Interval {
    let edge = |bin: u32| f64::from_bits(u64::from(bin) << BELOW_BIN);
    match bin {
        0 => Interval { lower: 0.0, upper: 0.0 },
        _ => Interval { lower: edge(bin), upper: edge(bin + 1) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_distance_lies_in_its_bin(distance in 1e-9_f64..1e6) {
            let Interval { lower, upper } = edges(Distribution::bin(distance));
            prop_assert!(lower <= distance && distance < upper && upper <= 1.016 * lower);
        }

        #[test]
        fn a_quantile_brackets_that_of_the_sorted_distances(
            mut distances in prop::collection::vec(0.0_f64..9.0, 1..60), share in 0.0_f64..=1.0
        ) {
            let mut distribution = Distribution::of(Coverage::Exact);
            distances.iter().for_each(|&distance| distribution.add(Distribution::bin(distance), 1));
            distances.sort_by(f64::total_cmp);
            let rank = ((share * distances.len() as f64).ceil() as usize).max(1);
            let Interval { lower, upper } = distribution.quantile(share).unwrap();
            prop_assert!(lower <= distances[rank - 1] && distances[rank - 1] <= upper);
        }
    }

    #[test]
    fn without_pairs_there_is_no_quantile() {
        assert_eq!(Distribution::of(Coverage::Exact).quantile(0.5), None);
    }
}
