//! The division of prompts into blocks, which are written one after another.

use std::ops::Range;

use inject_models::Decoder;

use super::Extraction;
use crate::store::Positions;

/// The largest number of prompts in a block.
const MOST: usize = 1024;

/// Divides prompts into blocks, in one pass. A block has at least one prompt, and as many as keep its states within the memory budget, so
/// that batches of similar length can be found among them.
///
/// The blocks of prompts that begin at the first prompt of a block are those that they have among all prompts.
#[derive(Debug)]
pub(super) struct Blocks {
    positions: Positions,
    bytes_per_row: usize,
    memory_budget: usize,
    /// The number of blocks begun.
    begun: usize,
    /// The number of prompts in the last block, and the bytes of their states.
    prompts: usize,
    bytes: usize,
}

impl Blocks {
    pub(super) fn new(extraction: &Extraction, decoder: &Decoder) -> Self {
        Blocks {
            positions: extraction.positions,
            bytes_per_row: 4 * extraction.taps.len() * decoder.config().d_model,
            memory_budget: extraction.memory_budget,
            begun: 0,
            prompts: 0,
            bytes: 0,
        }
    }

    /// Returns the number of blocks begun.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Returns the number of the block to which the next prompt belongs, from 0.
    pub(super) fn push(&mut self, prompt: &[u32]) -> usize {
        let more = self.positions.rows(prompt.len()) * self.bytes_per_row;
        if self.begun == 0 || self.prompts == MOST || self.bytes + more > self.memory_budget {
            (self.begun, self.prompts, self.bytes) = (self.begun + 1, 0, 0);
        }
        self.prompts += 1;
        self.bytes += more;
        self.begun - 1
    }

    /// Returns the numbers of the prompts of each block.
    pub(super) fn of(mut self, prompts: &[Vec<u32>]) -> Vec<Range<usize>> {
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for (prompt, ids) in prompts.iter().enumerate() {
            let begins = self.push(ids) == blocks.len();
            match blocks.last_mut() {
                Some(block) if !begins => block.end += 1,
                _ => blocks.push(prompt..prompt + 1),
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the blocks of prompts with so many rows, with a budget of four rows.
    fn blocks(rows: &[usize]) -> Vec<usize> {
        let blocks = Blocks {
            positions: Positions::All,
            bytes_per_row: 8,
            memory_budget: 32,
            begun: 0,
            prompts: 0,
            bytes: 0,
        };
        let prompts: Vec<Vec<u32>> = rows.iter().map(|&rows| vec![0; rows]).collect();
        blocks.of(&prompts).iter().map(ExactSizeIterator::len).collect()
    }

    #[test]
    fn a_block_keeps_within_the_budget_and_is_never_empty() {
        assert!(blocks(&[]).is_empty());
        assert_eq!(blocks(&[2, 2, 1, 1, 1, 1, 1]), [2, 4, 1]);
        assert_eq!(blocks(&[9, 9, 1, 4]), [1, 1, 1, 1]);
    }

    #[test]
    fn a_block_has_a_largest_number_of_prompts() {
        let blocks = Blocks {
            positions: Positions::Last,
            bytes_per_row: 1,
            memory_budget: usize::MAX,
            begun: 0,
            prompts: 0,
            bytes: 0,
        };
        let blocks = blocks.of(&vec![vec![1]; 2 * MOST + 1]);
        assert_eq!(blocks, [0..MOST, MOST..2 * MOST, 2 * MOST..2 * MOST + 1]);
    }
}
