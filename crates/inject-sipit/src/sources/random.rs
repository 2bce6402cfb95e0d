//! The paper's brute force: a uniformly random order.

use std::{collections::HashMap, num::NonZeroUsize};

use crate::{error::InvertError, states::random::SplitMix};

use super::{OpenPosition, Prompt, Session, Source, Turn, at_position::AtPosition};

/// Proposes every token once, in a uniformly random order. The order depends only on the seed and the position.
///
/// # Source
///
/// arXiv 2510.15511, Algorithm 2.
#[derive(Clone, Debug)]
pub struct RandomOrder {
    seed: u64,
    batch: NonZeroUsize,
}

impl RandomOrder {
    /// Creates a source that proposes one candidate at a time, as published.
    pub fn seeded(seed: u64) -> Self {
        RandomOrder { seed, batch: NonZeroUsize::MIN }
    }

    /// Sets the number of candidates that are proposed at once.
    pub fn in_batches(self, batch: NonZeroUsize) -> Self {
        RandomOrder { batch, ..self }
    }

    /// Returns all ids, shuffled by the Fisher-Yates algorithm.
    fn shuffled(&self, position: usize, vocab_size: usize) -> Vec<u32> {
        let mut numbers = SplitMix::seeded(self.seed ^ (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut ids: Vec<u32> = (0..vocab_size as u32).collect();
        for i in (1..ids.len()).rev() {
            ids.swap(i, numbers.below(i as u64 + 1) as usize);
        }
        ids
    }
}

impl Source for RandomOrder {
    type Memory = ();

    fn name(&self) -> &'static str {
        "random"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(RandomSession { source: self, here: AtPosition::default() }))
    }
}

struct RandomSession<'a> {
    source: &'a RandomOrder,
    here: AtPosition<Order>,
}

struct Order {
    ids: Vec<u32>,
    /// For each prefix, the number of ids at the start of the order that were tested.
    passed: HashMap<Vec<u32>, usize>,
}

impl Session<()> for RandomSession<'_> {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        let Order { ids, passed } = self.here.get_or_begin(at.position(), || Order {
            ids: self.source.shuffled(at.position(), at.vocab_size()),
            passed: HashMap::new(),
        });
        let passed = match passed.get_mut(at.prefix) {
            Some(passed) => passed,
            None => passed.entry(at.prefix.to_vec()).or_default(),
        };
        let ids = &ids[..ids.len().min(turn.limit)];
        *passed += ids[*passed..].iter().take_while(|&&id| at.tested.contains(id)).count();
        let rest = ids[*passed..].iter().copied();
        Ok(rest.filter(|&id| !at.tested.contains(id)).take(self.source.batch.get()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_order_holds_every_token_once_and_changes_with_the_position() {
        let source = RandomOrder::seeded(3);
        let first = source.shuffled(0, 100);
        assert_ne!(first, source.shuffled(1, 100));
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 100);
        assert_eq!(first, source.shuffled(0, 100));
    }
}
