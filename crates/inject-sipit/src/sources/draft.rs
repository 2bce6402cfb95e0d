//! Tokens for many positions at once.

use std::collections::HashSet;

use crate::models::Alternative;

/// Guessed tokens for the first open position and those after it, and alternatives for doubtful ones. One forward pass computes
/// all of them. Each alternative costs as much as one more position.
///
/// # Example
///
/// ```
/// use inject_sipit::sources::Draft;
///
/// let draft = Draft::from(vec![3, 1, 4]);
/// assert!(draft.alternatives.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// The tokens for consecutive positions, starting at the first open one.
    pub ids: Vec<u32>,
    /// Other tokens for some of these positions.
    pub alternatives: Vec<Alternative>,
}

impl From<Vec<u32>> for Draft {
    /// Creates a draft without alternatives.
    fn from(ids: Vec<u32>) -> Self {
        Draft { ids, alternatives: Vec::new() }
    }
}

impl Draft {
    /// Returns the same draft with other tokens for some of its positions.
    pub fn with_alternatives(self, alternatives: Vec<Alternative>) -> Self {
        Draft { alternatives, ..self }
    }

    /// Cuts the draft before its first id outside the vocabulary and to at most `most` positions. Removes repeated alternatives.
    pub(crate) fn cut(mut self, vocab_size: usize, most: usize) -> Self {
        let known = |id: u32| (id as usize) < vocab_size;
        let end = self.ids.iter().take(most).take_while(|&&id| known(id)).count();
        self.ids.truncate(end);
        let ids = &self.ids;
        let mut once = HashSet::new();
        self.alternatives.retain(|other| {
            ids.get(other.place).is_some_and(|&id| id != other.id)
                && known(other.id)
                && once.insert((other.place, other.id))
        });
        self
    }
}
