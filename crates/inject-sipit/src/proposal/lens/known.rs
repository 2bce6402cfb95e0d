//! What a lens read of the prompts it was asked for last.

use std::{collections::VecDeque, sync::Arc};

use super::belief::Shortlists;

/// Shortlists of several prompts, as prompts that are recovered together are asked for in turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The one read last is last.
    prompts: VecDeque<Arc<Shortlists>>,
}

/// Positions remembered, those of the prompt read last apart: three lists of 16 tokens each are less than half a kilobyte.
const REMEMBERED: usize = 1 << 16;

impl Known {
    /// The shortlists of a prompt, if it is among those read last.
    pub(super) fn of(&self, target: u64) -> Option<Arc<Shortlists>> {
        self.prompts.iter().rev().find(|known| known.target == target).cloned()
    }

    /// Remembers a prompt, and forgets those read longest ago where there are too many.
    pub(super) fn remember(&mut self, read: Shortlists) -> Arc<Shortlists> {
        let read = Arc::new(read);
        let mut positions: usize = self.prompts.iter().map(|known| known.positions()).sum();
        while positions > REMEMBERED
            && let Some(oldest) = self.prompts.pop_front()
        {
            positions -= oldest.positions();
        }
        self.prompts.push_back(read.clone());
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: u64, positions: usize) -> Shortlists {
        Shortlists { target, of_kind: vec![vec![Vec::new(); positions]] }
    }

    #[test]
    fn prompts_asked_for_in_turn_are_read_once() {
        let mut known = Known::default();
        let first = known.remember(read(7, 64));
        let second = known.remember(read(8, 64));
        for _ in 0..3 {
            assert!(known.of(7).is_some_and(|known| Arc::ptr_eq(&known, &first)));
            assert!(known.of(8).is_some_and(|known| Arc::ptr_eq(&known, &second)));
        }
        assert!(known.of(9).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_last_prompt_always_known() {
        let mut known = Known::default();
        for target in 0..10 {
            known.remember(read(target, REMEMBERED / 3));
        }
        let kept: Vec<u64> = (0..10).filter(|&target| known.of(target).is_some()).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
        known.remember(read(10, 5 * REMEMBERED));
        known.remember(read(11, 1));
        assert!(known.of(10).is_none() && known.of(11).is_some());
    }
}
