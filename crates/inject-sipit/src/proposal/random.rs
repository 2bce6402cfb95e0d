//! The paper's brute force: a uniformly random order.

use inject_collisions::states::SplitMix;

use super::{Place, Proposer};
use crate::InvertError;

/// Every token once, in a uniformly random order that depends on nothing but the seed and the position.
///
/// # Source
///
/// arXiv 2510.15511, Algorithm 2.
#[derive(Clone, Debug)]
pub struct RandomOrder {
    seed: u64,
    batch: usize,
    /// The position and vocabulary the order was drawn for.
    drawn_for: Option<(usize, usize)>,
    order: Vec<u32>,
    /// How much of the order was gone through behind which prefix.
    passed: (Vec<u32>, usize),
}

impl RandomOrder {
    /// One candidate after the other, as published.
    pub fn seeded(seed: u64) -> Self {
        RandomOrder { seed, batch: 1, drawn_for: None, order: Vec::new(), passed: (Vec::new(), 0) }
    }

    /// The same, `batch` candidates at once.
    pub fn in_batches(self, batch: usize) -> Self {
        RandomOrder { batch: batch.max(1), ..self }
    }

    /// Fisher and Yates' shuffle.
    fn draw(&mut self, position: usize, vocab_size: usize) {
        let mut numbers = SplitMix::seeded(self.seed ^ (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.order = (0..vocab_size as u32).collect();
        for i in (1..self.order.len()).rev() {
            self.order.swap(i, numbers.below(i as u64 + 1) as usize);
        }
        self.drawn_for = Some((position, vocab_size));
        self.passed = (Vec::new(), 0);
    }
}

impl Proposer for RandomOrder {
    fn name(&self) -> &'static str {
        "random"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let wanted = (place.position(), place.vocab_size());
        if self.drawn_for != Some(wanted) {
            self.draw(wanted.0, wanted.1);
        }
        // Behind another prefix other tokens were tested.
        if self.passed.0 != place.prefix {
            self.passed = (place.prefix.to_vec(), 0);
        }
        let passed = &mut self.passed.1;
        let tested = self.order[*passed..].iter().take_while(|&&id| place.tested.contains(id)).count();
        *passed += tested;
        let rest = self.order[*passed..].iter().copied();
        Ok(rest.filter(|&id| !place.tested.contains(id)).take(self.batch).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_order_holds_every_token_once_and_changes_with_the_position() {
        let mut source = RandomOrder::seeded(3);
        source.draw(0, 100);
        let first = source.order.clone();
        source.draw(1, 100);
        assert_ne!(first, source.order);
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 100);
        source.draw(0, 100);
        assert_eq!(first, source.order);
    }
}
