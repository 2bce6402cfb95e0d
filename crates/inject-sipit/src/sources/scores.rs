//! The selection of the best tokens by their scores.

use crate::tuning::{LARGEST_PROPOSAL, SMALLEST_PROPOSAL};

/// Returns the size of the next batch after `tested` candidates. The first batches are small, because the first candidates are the
/// most likely ones. Later batches are large enough to keep the device busy.
pub(crate) fn growing(tested: usize) -> usize {
    (4 * tested).clamp(SMALLEST_PROPOSAL, LARGEST_PROPOSAL)
}

/// Returns the indices of the `count` largest scores, largest first. Of equal scores the lower index comes first.
pub(crate) fn most_likely(scores: &[f64], count: usize) -> Vec<u32> {
    let count = count.min(scores.len());
    let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let mut kept: Vec<u32> = Vec::with_capacity(2 * count + 1);
    let mut least = None;
    for (place, score) in scores.iter().enumerate() {
        if least.is_none_or(|least| *score > least) {
            kept.push(place as u32);
            if kept.len() > 2 * count {
                // A later score matters only if it exceeds the smallest of these.
                kept.select_nth_unstable_by(count, by_score);
                kept.truncate(count);
                let last = kept.iter().copied().max_by(by_score);
                least = Some(last.map_or(f64::INFINITY, |last| scores[last as usize]));
            }
        }
    }
    kept.sort_unstable_by(by_score);
    kept.truncate(count);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_most_likely_are_those_of_a_whole_sort(
            scores in prop::collection::vec(-20_i32..20, 0..400), count in 0_usize..50,
        ) {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let mut all: Vec<u32> = (0..scores.len() as u32).collect();
            // A stable sort keeps the lower index of equal scores first.
            all.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            all.truncate(count);
            prop_assert_eq!(most_likely(&scores, count), all);
        }
    }
}
