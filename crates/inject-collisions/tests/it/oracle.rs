//! The oracle: a double loop over all pairs, in f64.

use std::collections::BTreeMap;

use inject_collisions::{Metric, Neighbour, Pair, Pairs};
use ndarray::Array2;

/// Returns every pair that counts, with its distance.
pub(crate) fn all_pairs(
    states: &Array2<f32>,
    identities: Option<&[u32]>,
    pairs: &Pairs,
    metric: Metric,
) -> Vec<Pair> {
    let counts = |a: usize, b: usize| {
        identities.is_none_or(|identities| identities[a] != identities[b])
            && match pairs {
                Pairs::All => true,
                Pairs::Within(labels) => labels[a] == labels[b],
                Pairs::Across(labels) => labels[a] != labels[b],
                Pairs::Between(first) => a < *first && b >= *first,
            }
    };
    let row = |row: usize| states.row(row).to_vec();
    let n = states.nrows();
    let all = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|&(a, b)| counts(a, b));
    all.map(|(a, b)| Pair::new(a, b, metric.distance(&row(a), &row(b)))).collect()
}

pub(crate) fn closest(all: &[Pair], k: usize) -> Vec<Pair> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|x, y| x.distance.total_cmp(&y.distance).then((x.a, x.b).cmp(&(y.a, y.b))));
    sorted.truncate(k);
    sorted
}

pub(crate) fn nearest(all: &[Pair], rows: usize) -> Vec<Option<Neighbour>> {
    let mut nearest: Vec<Option<Neighbour>> = vec![None; rows];
    for pair in all {
        for (row, other) in [(pair.a, pair.b), (pair.b, pair.a)] {
            let before =
                |held: Neighbour| pair.distance.total_cmp(&held.distance).then(other.cmp(&held.row)).is_lt();
            if nearest[row].is_none_or(before) {
                nearest[row] = Some(Neighbour::new(other, pair.distance));
            }
        }
    }
    nearest
}

pub(crate) fn below(all: &[Pair], threshold: f64) -> u64 {
    all.iter().filter(|pair| pair.distance < threshold).count() as u64
}

/// Returns the number of pairs in each bin, by the bits of its lower edge. `bins` are in ascending order.
pub(crate) fn histogram(all: &[Pair], bins: &[(f64, f64)]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for pair in all {
        let last = bins.partition_point(|(lower, _)| *lower <= pair.distance).checked_sub(1);
        let (lower, upper) = bins[last.expect("every distance has a bin")];
        assert!(pair.distance < upper || lower == pair.distance, "{} is in no bin", pair.distance);
        *counts.entry(lower.to_bits()).or_default() += 1;
    }
    counts
}
