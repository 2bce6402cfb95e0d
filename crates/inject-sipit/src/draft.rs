//! Tokens for many positions at once.

use std::collections::HashSet;

use inject_collisions::models::Alternative;

/// What one pass computes: tokens guessed for the positions from the first open one on, and others for those of them that are
/// doubtful. Each alternative costs what one more position of the draft costs.
///
/// # Example
///
/// ```
/// use inject_sipit::Draft;
///
/// let draft = Draft::from(vec![3, 1, 4]);
/// assert!(draft.alternatives.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Tokens for the positions from the first open one on.
    pub ids: Vec<u32>,
    /// Others for some of these places.
    pub alternatives: Vec<Alternative>,
}

impl From<Vec<u32>> for Draft {
    /// A draft without alternatives.
    fn from(ids: Vec<u32>) -> Self {
        Draft { ids, alternatives: Vec::new() }
    }
}

impl Draft {
    /// As far as the ids are known, and `most` positions at most; every alternative once.
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
