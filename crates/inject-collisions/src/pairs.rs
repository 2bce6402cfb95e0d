//! The pairs of rows that a search counts.

use std::{collections::HashMap, hash::Hash};

use crate::{error::CollisionError, rows::StateRows};

/// The pairs of rows that count. Two rows with the same identity never count as a pair, and neither does a row with itself.
///
/// # Example
///
/// ```
/// use inject_collisions::Pairs;
///
/// // Extensions of two prefixes, of which only pairs with the same prefix count.
/// let pairs = Pairs::Within(vec![0, 0, 1, 1, 1]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// Every pair of rows of different prompts.
    #[default]
    All,
    /// Pairs whose rows have the same label. The vector holds a label for each row.
    Within(Vec<u32>),
    /// Pairs whose rows have different labels. The vector holds a label for each row.
    Across(Vec<u32>),
    /// Pairs of one of the first rows with one of the others. The number is that of the first rows.
    Between(usize),
}

impl Pairs {
    /// Checks that there is one label for each row.
    ///
    /// # Errors
    ///
    /// [`CollisionError::LabelCount`] if there is not.
    pub(crate) fn check(&self, rows: &StateRows<'_>) -> Result<(), CollisionError> {
        match self {
            Pairs::Within(labels) | Pairs::Across(labels) if labels.len() != rows.rows() => {
                let (found, rows) = (labels.len(), rows.rows());
                Err(CollisionError::LabelCount { what: "labels", found, rows })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether two different rows count as a pair.
    pub(crate) fn admit(&self, rows: &StateRows<'_>, a: usize, b: usize) -> bool {
        let same_prompt = rows.identities().is_some_and(|identities| identities[a] == identities[b]);
        !same_prompt
            && match self {
                Pairs::All => true,
                Pairs::Within(labels) => labels[a] == labels[b],
                Pairs::Across(labels) => labels[a] != labels[b],
                Pairs::Between(first) => (a < *first) != (b < *first),
            }
    }

    /// Returns the number of pairs that count.
    pub(crate) fn count(&self, rows: &StateRows<'_>) -> u64 {
        self.among(rows, &(0..rows.rows()).collect::<Vec<_>>())
    }

    /// Returns the number of pairs among these rows that count.
    pub(crate) fn among(&self, rows: &StateRows<'_>, these: &[usize]) -> u64 {
        let these = || these.iter().copied();
        // Pairs with the same identity are subtracted.
        let repeated_within = |label: &dyn Fn(usize) -> u32| match rows.identities() {
            None => 0,
            Some(identities) => pairs_of_equal(these().map(|row| (label(row), identities[row]))),
        };
        let all = || pairs_of(these().len() as u64) - repeated_within(&|_| 0);
        let within =
            |label: &dyn Fn(usize) -> u32| pairs_of_equal(these().map(label)) - repeated_within(label);
        match self {
            Pairs::All => all(),
            Pairs::Within(labels) => within(&|row| labels[row]),
            Pairs::Across(labels) => all() - within(&|row| labels[row]),
            Pairs::Between(first) => all() - within(&|row| u32::from(row >= *first)),
        }
    }
}

/// Returns the number of pairs among `n` elements.
fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Returns the number of pairs with equal keys.
fn pairs_of_equal<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> u64 {
    let mut sizes: HashMap<K, u64> = HashMap::new();
    keys.for_each(|key| *sizes.entry(key).or_default() += 1);
    sizes.into_values().map(pairs_of).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_count_is_the_number_of_admitted_pairs(
            keys in prop::collection::vec((0_u32..4, 0_u32..6), 2..30), with_identities in any::<bool>()
        ) {
            let (labels, identities): (Vec<u32>, Vec<u32>) = keys.into_iter().unzip();
            let states = Array2::zeros((labels.len(), 1));
            let mut rows = StateRows::new(states.view()).unwrap();
            if with_identities {
                rows = rows.with_identities(identities).unwrap();
            }
            let first = labels.len() / 3;
            for pairs in [Pairs::All, Pairs::Within(labels.clone()), Pairs::Across(labels.clone()), Pairs::Between(first)] {
                let all = (0..labels.len()).flat_map(|a| (a + 1..labels.len()).map(move |b| (a, b)));
                let admitted = all.filter(|&(a, b)| pairs.admit(&rows, a, b)).count();
                prop_assert_eq!(pairs.count(&rows), admitted as u64);
            }
        }
    }

    #[test]
    fn a_wrong_number_of_labels_is_refused() {
        let states = Array2::zeros((3, 1));
        let rows = StateRows::new(states.view()).unwrap();
        let error = Pairs::Across(vec![1, 2]).check(&rows).unwrap_err();
        assert!(matches!(error, CollisionError::LabelCount { what: "labels", found: 2, rows: 3 }));
    }
}
