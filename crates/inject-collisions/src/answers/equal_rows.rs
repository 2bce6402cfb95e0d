//! Rows whose coordinates are all equal.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::{pairs::Pairs, rows::StateRows};

/// Rows of different prompts whose coordinates are all equal: a collision.
///
/// `-0` equals `0`, so these are exactly the rows at distance 0 from each other.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct EqualRows {
    /// The rows in ascending order, counted from 0. There are at least two.
    pub rows: Vec<usize>,
    /// The number of pairs among them that count, at least one.
    pub pairs: u64,
}

/// Returns the groups of equal rows that contain a pair that counts, in the order of their first rows.
pub(crate) fn equal_rows(rows: &StateRows<'_>, pairs: &Pairs) -> Vec<EqualRows> {
    let hashes: Vec<u64> =
        (0..rows.rows()).into_par_iter().map(|row| hash_of_row(rows.row(row, &mut Vec::new()))).collect();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::with_capacity(rows.rows());
    for (row, hash) in hashes.into_iter().enumerate() {
        by_hash.entry(hash).or_default().push(row);
    }
    let alike = by_hash.into_values().filter(|rows| rows.len() > 1);
    let mut found: Vec<_> = alike.flat_map(|alike| split(rows, pairs, alike)).collect();
    found.sort_unstable_by_key(|group| group.rows[0]);
    found
}

/// Returns the groups of equal rows among rows with the same hash.
fn split(rows: &StateRows<'_>, pairs: &Pairs, mut alike: Vec<usize>) -> Vec<EqualRows> {
    let mut groups = Vec::new();
    let [mut for_a, mut for_b] = [Vec::new(), Vec::new()];
    while let Some(&first) = alike.first() {
        let state = rows.row(first, &mut for_a);
        let (equal, rest): (Vec<_>, Vec<_>) =
            alike.iter().partition(|&&row| rows.row(row, &mut for_b) == state);
        let count = pairs.among(rows, &equal);
        if count > 0 {
            groups.push(EqualRows { rows: equal, pairs: count });
        }
        alike = rest;
    }
    groups
}

/// Returns a hash of the coordinates of a row. `-0` and `0` have the same hash.
pub(crate) fn hash_of_row(state: &[f32]) -> u64 {
    // Four lanes, because each multiplication waits for the previous one of its lane.
    let mut lanes = [0x9e37_79b9_7f4a_7c15_u64; 4];
    let mix = |lane: &mut u64, value: f32| {
        // Adding zero turns -0 into 0.
        *lane =
            (*lane ^ u64::from((value + 0.0).to_bits())).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    };
    let (chunks, rest) = state.as_chunks::<4>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| mix(lane, *value));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, value)| mix(lane, *value));
    lanes.iter().fold(0, |hash, lane| (hash ^ lane).wrapping_mul(0xc4ce_b9fe_1a85_ec53).rotate_left(31))
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn equal_rows_are_grouped_and_the_sign_of_zero_does_not_matter() {
        let states = arr2(&[[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 2.0]]);
        let rows = StateRows::new(states.view()).unwrap();
        let found = equal_rows(&rows, &Pairs::All);
        let expected = [(vec![0, 2], 1), (vec![1, 3, 4], 3)].map(|(rows, pairs)| EqualRows { rows, pairs });
        assert_eq!(found, expected);
    }

    #[test]
    fn equal_rows_of_one_prompt_are_not_a_collision() {
        let states = arr2(&[[1.0], [1.0], [1.0]]);
        let rows = StateRows::new(states.view()).unwrap().with_identities(vec![5, 5, 5]).unwrap();
        assert_eq!(equal_rows(&rows, &Pairs::All), []);
        let rows = StateRows::new(states.view()).unwrap().with_identities(vec![5, 5, 6]).unwrap();
        assert_eq!(equal_rows(&rows, &Pairs::All), [EqualRows { rows: vec![0, 1, 2], pairs: 2 }]);
    }

    #[test]
    fn different_rows_with_the_same_hash_are_not_grouped() {
        let states = arr2(&[[1.0], [2.0], [1.0], [2.0], [3.0]]);
        let rows = StateRows::new(states.view()).unwrap();
        let found = split(&rows, &Pairs::All, vec![0, 1, 2, 3, 4]);
        assert_eq!(found.iter().map(|group| &group.rows[..]).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
    }
}
