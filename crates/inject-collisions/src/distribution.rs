//! The distribution of the distances of all pairs.

use std::collections::BTreeMap;

/// Which pairs a distribution is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Every pair that counts.
    Exact,
    /// So many pairs, drawn evenly among those that count, with replacement.
    Sampled {
        /// How many.
        pairs: u64,
        /// What the draw depends on.
        seed: u64,
    },
}

/// A number that lies in `lower..upper`, or is both.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bracket {
    /// The lower end.
    pub lower: f64,
    /// The upper end, at most 1.6 % above the lower.
    pub upper: f64,
}

/// A histogram of distances.
///
/// The bins are the same for all data, so that histograms of disjoint sets of pairs add up: `[m 2^e, (m + 1/64) 2^e)` for
/// whole `e` and `m = 1, 1 + 1/64, ...`, and one bin for 0.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Distribution {
    /// Which pairs it is of.
    pub coverage: Coverage,
    /// How many pairs it is of.
    pub pairs: u64,
    /// How many of these were computed directly in f64; for the others a bound decided the bin.
    pub computed: u64,
    /// Pairs in each bin that has any.
    counts: BTreeMap<u32, u64>,
}

/// Bits of an f64 below those that tell the bin: 52 of the fraction less 6.
const BELOW_BIN: u32 = 46;

impl Distribution {
    pub(crate) fn of(coverage: Coverage) -> Self {
        Distribution { coverage, pairs: 0, computed: 0, counts: BTreeMap::new() }
    }

    /// The bin of a distance. It never falls as the distance grows.
    pub(crate) fn bin(distance: f64) -> u32 {
        // The bits of numbers that are not negative are ordered as the numbers are.
        (distance.to_bits() >> BELOW_BIN) as u32
    }

    pub(crate) fn add(&mut self, bin: u32, pairs: u64) {
        if pairs > 0 {
            *self.counts.entry(bin).or_default() += pairs;
            self.pairs += pairs;
        }
    }

    /// Takes out one pair that was added.
    pub(crate) fn remove(&mut self, bin: u32) {
        if let Some(pairs) = self.counts.get_mut(&bin) {
            *pairs -= 1;
            self.pairs -= 1;
            if *pairs == 0 {
                self.counts.remove(&bin);
            }
        }
    }

    /// The bins that have any pairs, ascending, with how many.
    pub fn bins(&self) -> impl Iterator<Item = (Bracket, u64)> {
        self.counts.iter().map(|(&bin, &pairs)| (edges(bin), pairs))
    }

    /// Where the distance lies that this share of the pairs does not exceed. `None` without pairs.
    ///
    /// # Panics
    ///
    /// Unless the share lies in 0..=1.
    pub fn quantile(&self, share: f64) -> Option<Bracket> {
        assert!((0.0..=1.0).contains(&share), "a share of {share}");
        let rank = ((share * self.pairs as f64).ceil() as u64).clamp(1, self.pairs.max(1));
        let mut seen = 0;
        let bin = self.counts.iter().find(|(_, pairs)| {
            seen += **pairs;
            seen >= rank
        });
        bin.map(|(&bin, _)| edges(bin))
    }

    /// Adds the distribution of other pairs. Samples should have been drawn in proportion to the pairs they are of.
    ///
    /// # Panics
    ///
    /// If one is exact and the other a sample.
    pub fn merge(&mut self, other: &Distribution) {
        self.coverage = match (self.coverage, other.coverage) {
            (Coverage::Exact, Coverage::Exact) => Coverage::Exact,
            (Coverage::Sampled { pairs, seed }, Coverage::Sampled { pairs: more, .. }) => {
                Coverage::Sampled { pairs: pairs + more, seed }
            }
            _ => panic!("an exact distribution and a sample do not add up"),
        };
        for (&bin, &pairs) in &other.counts {
            self.add(bin, pairs);
        }
        self.computed += other.computed;
    }
}

fn edges(bin: u32) -> Bracket {
    let edge = |bin: u32| f64::from_bits(u64::from(bin) << BELOW_BIN);
    match bin {
        0 => Bracket { lower: 0.0, upper: 0.0 },
        _ => Bracket { lower: edge(bin), upper: edge(bin + 1) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_distance_lies_in_its_bin(distance in 1e-9_f64..1e6) {
            let Bracket { lower, upper } = edges(Distribution::bin(distance));
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
            let Bracket { lower, upper } = distribution.quantile(share).unwrap();
            prop_assert!(lower <= distances[rank - 1] && distances[rank - 1] <= upper);
        }
    }

    #[test]
    fn without_pairs_there_is_no_quantile() {
        assert_eq!(Distribution::of(Coverage::Exact).quantile(0.5), None);
    }
}
