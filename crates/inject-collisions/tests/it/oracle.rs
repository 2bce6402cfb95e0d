//! The double loop over all pairs, in f64.

use std::collections::BTreeMap;

use inject_collisions::{Metric, Neighbour, Pair, Pairs};
use ndarray::Array2;

/// Every pair that counts, with its distance.
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
            }
    };
    let row = |row: usize| states.row(row).to_vec();
    let n = states.nrows();
    let all = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|&(a, b)| counts(a, b));
    all.map(|(a, b)| Pair { a, b, distance: metric.distance(&row(a), &row(b)) }).collect()
}

pub(crate) fn closest(all: &[Pair], k: usize) -> Vec<Pair> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|x, y| x.distance.total_cmp(&y.distance).then((x.a, x.b).cmp(&(y.a, y.b))));
    sorted.truncate(k);
    sorted
}

pub(crate) fn nearest(all: &[Pair], rows: usize) -> Vec<Option<Neighbour>> {
    let of = |row: usize| {
        let partner = |pair: &Pair| match row {
            _ if pair.a == row => Some(Neighbour { row: pair.b, distance: pair.distance }),
            _ if pair.b == row => Some(Neighbour { row: pair.a, distance: pair.distance }),
            _ => None,
        };
        let before = |x: &Neighbour, y: &Neighbour| x.distance.total_cmp(&y.distance).then(x.row.cmp(&y.row));
        all.iter().filter_map(partner).min_by(before)
    };
    (0..rows).map(of).collect()
}

pub(crate) fn below(all: &[Pair], threshold: f64) -> u64 {
    all.iter().filter(|pair| pair.distance < threshold).count() as u64
}

/// Pairs in each bin, by the bin's edges as bits.
pub(crate) fn histogram(all: &[Pair], bins: &[(f64, f64)]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for pair in all {
        let holds = |&&(lower, upper): &&(f64, f64)| {
            lower == pair.distance || (lower <= pair.distance && pair.distance < upper)
        };
        let (lower, _) = bins.iter().find(holds).expect("every distance has a bin");
        *counts.entry(lower.to_bits()).or_default() += 1;
    }
    counts
}
