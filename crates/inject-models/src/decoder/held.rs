//! The places of a decoder's weights, and the bytes of them that a pass reads.

use super::{
    Decoder,
    block::Block,
    mapped::Mapped,
    weight::{Table, Weight},
};
use crate::{format::FloatFormat, tap::Tap};

/// The weights that a pass reads and restores, whatever the number of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassBytes {
    /// Bytes that are read from memory.
    pub from_memory: usize,
    /// Bytes that are read from the disk.
    pub from_disk: usize,
    /// The size in F32 of the numbers that are restored from codes, wherever these are.
    pub restored: usize,
}

impl Decoder {
    /// Returns the size of the weights that are held in mapped files.
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn held_in_files(&self) -> usize {
        let tables = [Some(&self.embedding), self.head.as_ref()].into_iter().flatten();
        let maps = self.blocks.iter().flat_map(Block::mapped);
        tables.filter_map(Table::mapped).chain(maps).map(Mapped::bytes).sum()
    }

    /// Returns whether some of them are codes.
    pub(super) fn holds_codes(&self) -> bool {
        let tables = [Some(&self.embedding), self.head.as_ref()].into_iter().flatten();
        tables
            .filter_map(Table::mapped)
            .chain(self.blocks.iter().flat_map(Block::mapped))
            .any(Mapped::is_coded)
    }

    /// Returns the size of the matrices that a pass up to a tap reads, and of those that it restores. This is the fixed cost of a pass,
    /// beside the cost of each row.
    pub fn bytes_of_a_pass(&self, tap: Tap) -> PassBytes {
        let blocks = &self.blocks[..self.blocks_needed(tap)];
        let (stay, pass) = blocks.split_at(self.paging.first_dropped().min(blocks.len()));
        let bytes = |blocks: &[Block]| blocks.iter().flat_map(Block::weights).map(Weight::bytes).sum();
        let coded = blocks.iter().flat_map(Block::mapped).filter(|matrix| matrix.is_coded());
        let numbers: usize = coded.map(|matrix| matrix.dims().iter().product::<usize>()).sum();
        PassBytes {
            from_memory: bytes(stay),
            from_disk: bytes(pass),
            restored: numbers * FloatFormat::F32.bytes(),
        }
    }
}
