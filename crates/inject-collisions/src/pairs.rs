//! Which pairs of rows count.

use std::{collections::HashMap, hash::Hash};

use crate::{CollisionError, Rows};

/// Which pairs of rows count. A row and itself, and rows of one identity, never do.
///
/// # Example
///
/// ```
/// use inject_collisions::Pairs;
///
/// // The extensions of two prefixes: only pairs that share the prefix.
/// let pairs = Pairs::Within(vec![0, 0, 1, 1, 1]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// All.
    #[default]
    All,
    /// Those whose rows have the same label. One label a row.
    Within(Vec<u32>),
    /// Those whose rows have different labels. One label a row.
    Across(Vec<u32>),
}

impl Pairs {
    /// # Errors
    ///
    /// [`CollisionError::LabelCount`] unless there is one label for each row.
    pub(crate) fn check(&self, rows: &Rows<'_>) -> Result<(), CollisionError> {
        match self {
            Pairs::Within(labels) | Pairs::Across(labels) if labels.len() != rows.rows() => {
                let (found, rows) = (labels.len(), rows.rows());
                Err(CollisionError::LabelCount { what: "labels", found, rows })
            }
            _ => Ok(()),
        }
    }

    /// Whether two different rows count as a pair.
    pub(crate) fn admit(&self, rows: &Rows<'_>, a: usize, b: usize) -> bool {
        let same_prompt = rows.identities().is_some_and(|identities| identities[a] == identities[b]);
        !same_prompt
            && match self {
                Pairs::All => true,
                Pairs::Within(labels) => labels[a] == labels[b],
                Pairs::Across(labels) => labels[a] != labels[b],
            }
    }

    /// How many pairs count.
    pub(crate) fn count(&self, rows: &Rows<'_>) -> u64 {
        self.among(rows, &(0..rows.rows()).collect::<Vec<_>>())
    }

    /// How many pairs among these rows count.
    pub(crate) fn among(&self, rows: &Rows<'_>, these: &[usize]) -> u64 {
        let these = || these.iter().copied();
        // Rows of one identity are subtracted; without identities there is nothing to subtract.
        let repeated_within = |label: &dyn Fn(usize) -> u32| match rows.identities() {
            None => 0,
            Some(identities) => pairs_of_equal(these().map(|row| (label(row), identities[row]))),
        };
        let all = || pairs_of(these().len() as u64) - repeated_within(&|_| 0);
        let within = |labels: &[u32]| {
            pairs_of_equal(these().map(|row| labels[row])) - repeated_within(&|row| labels[row])
        };
        match self {
            Pairs::All => all(),
            Pairs::Within(labels) => within(labels),
            Pairs::Across(labels) => all() - within(labels),
        }
    }
}

/// How many pairs `n` things make.
fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// How many pairs have equal keys.
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
            let mut rows = Rows::new(states.view()).unwrap();
            if with_identities {
                rows = rows.with_identities(identities).unwrap();
            }
            for pairs in [Pairs::All, Pairs::Within(labels.clone()), Pairs::Across(labels.clone())] {
                let all = (0..labels.len()).flat_map(|a| (a + 1..labels.len()).map(move |b| (a, b)));
                let admitted = all.filter(|&(a, b)| pairs.admit(&rows, a, b)).count();
                prop_assert_eq!(pairs.count(&rows), admitted as u64);
            }
        }
    }

    #[test]
    fn labels_of_another_number_are_refused() {
        let states = Array2::zeros((3, 1));
        let rows = Rows::new(states.view()).unwrap();
        let error = Pairs::Across(vec![1, 2]).check(&rows).unwrap_err();
        assert!(matches!(error, CollisionError::LabelCount { what: "labels", found: 2, rows: 3 }));
    }
}
