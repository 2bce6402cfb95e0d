//! A lens that follows the prefix at hand.

use std::sync::Arc;

use super::growing;
use crate::{
    InvertError, Lens, Place, Proposer,
    proposal::combination::{Basis, Combination},
};

/// The tokens to which tested ones point among the points of a [`Lens`].
///
/// What a context adds to states is more than a lens knows of it, in the deepest blocks most of all. But the points tell tokens apart as
/// states of that depth do, so behind one prefix a state is more nearly a linear function of its token's point than of its embedding:
/// from some dozens of tokens of all over the vocabulary, tested behind the prefix at hand, the point of the token looked for can be
/// guessed; from twice as many better, which are tested where that was in vain.
#[derive(Clone, Debug)]
pub struct LensInContext {
    lens: Arc<Lens>,
    limit: usize,
    /// The position at hand.
    here: Option<(u64, usize)>,
    /// How many tokens of all over the vocabulary were tested there, and how many it pointed to.
    sampled: usize,
    proposed: usize,
}

/// Tokens from all over the vocabulary that are tested first at a position.
const SAMPLED: usize = 64;

/// And at most, as more than these are not kept for a guess.
const MOST_SAMPLED: usize = 1024;

impl LensInContext {
    /// Up to `limit` tokens at a position, besides the sample.
    pub fn new(lens: Arc<Lens>, limit: usize) -> Self {
        LensInContext { lens, limit, here: None, sampled: 0, proposed: 0 }
    }
}

impl Proposer for LensInContext {
    fn name(&self) -> &'static str {
        "lens in context"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let here = (place.target.id(), place.position());
        if self.here != Some(here) {
            self.lens.check(place.decoder, place.target)?;
            self.here = Some(here);
            (self.sampled, self.proposed) = (0, 0);
        }
        // A first position has points of its own, which are exact.
        if place.position() == 0 || self.proposed >= self.limit {
            return Ok(Vec::new());
        }
        // Where they point in vain, as many again make a better guess.
        if self.sampled <= self.proposed && self.sampled < MOST_SAMPLED {
            let sample = place.all_over(self.sampled.max(SAMPLED).min(place.vocab_size() / 16));
            self.sampled += sample.len().max(1);
            if !sample.is_empty() {
                return Ok(sample);
            }
        }
        if place.tested.is_empty() {
            return Ok(Vec::new());
        }
        let combination = Combination::of(place, Basis::Everywhere);
        let point = combination.of_points(&self.lens.points(&combination.ids));
        let nearness = self.lens.nearness(&point);
        let until_sampled = self.sampled.checked_sub(self.proposed).filter(|&left| left > 0);
        let count = growing(self.proposed).min(self.limit - self.proposed);
        let count = until_sampled.map_or(count, |left| count.min(left));
        let proposed = place.likeliest_untested(&nearness, count);
        self.proposed += proposed.len();
        Ok(proposed)
    }
}
