//! Weights in mapped files: read from the disk before a block needs them, and dropped after it if not all fit into memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use super::{Decoder, block::Block, mapped::Mapped};
use crate::tuning::BLOCKS_AHEAD;

/// The blocks that are read ahead, and those that are dropped. A clone shares what is known of them.
#[derive(Clone, Debug)]
pub(super) struct Paging(Arc<State>);

#[derive(Debug)]
struct State {
    /// The first block that is dropped after use. The blocks before it stay in memory: if all were dropped, or none, each pass
    /// would read every block again.
    first_dropped: usize,
    /// Whether a block has been read ahead. One that stays in memory is read ahead once.
    read: Vec<AtomicBool>,
}

/// One pass through some blocks.
pub(super) struct Walk<'a> {
    state: &'a State,
    blocks: &'a [Block],
    /// The next block to read ahead.
    next: usize,
    /// The thread that reads and drops, once there is something to do.
    tasks: Option<mpsc::Sender<Task>>,
}

enum Task {
    Read(Vec<Mapped>),
    Drop(Vec<Mapped>),
}

impl Decoder {
    /// Returns the same decoder, which keeps about `bytes` bytes of its blocks' weights in memory, if they are in mapped files.
    /// The last blocks of a larger model are read from the disk in each pass, two blocks ahead of the computation, and dropped after
    /// it. The default keeps all weights.
    ///
    /// Such a model computes as fast as its disk, because dropped blocks are read again. So a pass should take many rows. The states
    /// are the same bits.
    pub fn with_weights_in_memory(self, bytes: usize) -> Self {
        let paging = Paging::within(bytes, &self.blocks);
        Decoder { paging, ..self }
    }

    /// Returns whether each pass reads some of the weights from the disk again.
    pub fn reads_from_disk(&self) -> bool {
        self.paging.drops()
    }
}

impl Paging {
    /// All of some blocks stay in memory.
    pub(super) fn of_all(blocks: usize) -> Self {
        Paging::new(blocks, blocks)
    }

    /// Creates a plan by which the blocks' weights take at most `memory` bytes, if each block takes less than a fifth of that.
    pub(super) fn within(memory: usize, blocks: &[Block]) -> Self {
        let bytes: Vec<usize> = blocks.iter().map(|block| block.mapped().map(Mapped::bytes).sum()).collect();
        Paging::new(blocks.len(), first_dropped(&bytes, memory))
    }

    fn new(blocks: usize, first_dropped: usize) -> Self {
        let read = (0..blocks).map(|_| AtomicBool::new(false)).collect();
        Paging(Arc::new(State { first_dropped, read }))
    }

    /// Whether some blocks are dropped after use.
    pub(super) fn drops(&self) -> bool {
        self.0.first_dropped < self.0.read.len()
    }

    /// The first block that is dropped, or the number of blocks.
    pub(super) fn first_dropped(&self) -> usize {
        self.0.first_dropped
    }

    /// Begins a pass through the first blocks.
    pub(super) fn walk<'a>(&'a self, blocks: &'a [Block]) -> Walk<'a> {
        Walk { state: &self.0, blocks, next: 0, tasks: None }
    }
}

/// The number of blocks, from the first one on, that stay in memory beside those that are read ahead and dropped.
fn first_dropped(bytes: &[usize], memory: usize) -> usize {
    if bytes.iter().sum::<usize>() <= memory {
        return bytes.len();
    }
    // The one that is computed, those that are read ahead, and one that is not dropped yet.
    let passing = (BLOCKS_AHEAD + 2) * bytes.iter().copied().max().unwrap_or(0);
    let mut room = memory.saturating_sub(passing);
    let stays = |&&bytes: &&usize| {
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    bytes.iter().take_while(stays).count()
}

impl Walk<'_> {
    /// Reads the blocks after this one ahead. To be called before the block is computed.
    pub(super) fn reached(&mut self, block: usize) {
        let end = self.blocks.len().min(block + 1 + BLOCKS_AHEAD);
        while self.next < end {
            let next = self.next;
            self.next += 1;
            let read_before = self.state.read[next].swap(true, Ordering::Relaxed);
            if !read_before || next >= self.state.first_dropped {
                self.give(Task::Read, next);
            }
        }
    }

    /// Drops the block, unless it stays. To be called after the block is computed, whether it was read ahead or not.
    pub(super) fn left(&mut self, block: usize) {
        if block >= self.state.first_dropped {
            self.give(Task::Drop, block);
        }
    }

    /// Gives a task to the other thread. Without one, the block is read when it is used.
    fn give(&mut self, task: fn(Vec<Mapped>) -> Task, block: usize) {
        let matrices: Vec<Mapped> = self.blocks[block].mapped().cloned().collect();
        if matrices.is_empty() {
            return;
        }
        if self.tasks.is_none() {
            let (sender, tasks) = mpsc::channel::<Task>();
            let work = move || tasks.iter().for_each(Task::run);
            let begun = thread::Builder::new().name("read ahead".to_owned()).spawn(work);
            self.tasks = begun.is_ok().then_some(sender);
        }
        if let Some(tasks) = &self.tasks {
            // The thread ends only when this sender is dropped.
            let _ = tasks.send(task(matrices));
        }
    }
}

impl Task {
    fn run(self) {
        match self {
            Task::Read(matrices) => matrices.iter().for_each(Mapped::read_ahead),
            Task::Drop(matrices) => matrices.iter().for_each(Mapped::drop_pages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_blocks_stay_if_they_fit() {
        assert_eq!(first_dropped(&[10, 10, 10], 30), 3);
        assert_eq!(first_dropped(&[], 0), 0);
    }

    #[test]
    fn the_first_blocks_stay_beside_those_that_pass() {
        let blocks = [10; 20];
        for memory in 0..200 {
            let stay = first_dropped(&blocks, memory);
            assert_eq!(stay, memory.saturating_sub(40) / 10, "{memory}");
        }
    }
}
