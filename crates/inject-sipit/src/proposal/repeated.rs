//! Tokens that the prompt has already.

use std::collections::HashSet;

use inject_collisions::distance;

use super::{Place, Proposer};
use crate::InvertError;

/// The tokens before the open position, in the order in which their states are near the one looked for.
///
/// Texts repeat themselves, and a token's state behind the same text is more like the one looked for than anything a lens knows of it.
/// So is that of an attention sink: where one follows the other they hardly differ, and are like nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Repeated {
    limit: usize,
}

impl Repeated {
    /// The `limit` nearest.
    pub fn up_to(limit: usize) -> Self {
        Repeated { limit }
    }
}

impl Proposer for Repeated {
    fn name(&self) -> &'static str {
        "repeated"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let wanted = place.target.state(place.position());
        let mut before: Vec<(f64, u32)> = place
            .prefix
            .iter()
            .enumerate()
            .map(|(position, &id)| (distance(place.target.state(position), wanted), id))
            .collect();
        before.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut once = HashSet::new();
        let nearest = before.into_iter().map(|(_, id)| id).filter(|&id| once.insert(id)).take(self.limit);
        Ok(nearest.filter(|&id| !place.tested.contains(id)).collect())
    }
}
