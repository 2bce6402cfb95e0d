//! The checksums of the blocks of one tap.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use inject_models::FloatFormat;

use crate::durable::{self, Checksum};

/// The number of bytes read from a file at a time.
const PIECE: usize = 1 << 20;

/// A checksum for each block of a stream of bytes.
#[derive(Clone)]
pub(crate) struct BlockHasher {
    block_bytes: usize,
    /// The number of bytes in the last block, which is not complete yet.
    filled: usize,
    checksum: Checksum,
    sums: Vec<u64>,
}

impl BlockHasher {
    pub(crate) fn new(block_bytes: usize) -> Self {
        BlockHasher { block_bytes, filled: 0, checksum: Checksum::new(), sums: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (block, rest) = bytes.split_at(bytes.len().min(self.block_bytes - self.filled));
            self.checksum.update(block);
            self.filled += block.len();
            bytes = rest;
            if self.filled == self.block_bytes {
                self.end_block();
            }
        }
    }

    /// Hashes numbers in the format in which they are stored. A number that cannot be stored ends it.
    pub(crate) fn update_with(&mut self, values: &[f32], format: FloatFormat) {
        if format == FloatFormat::F32 {
            // Stored as they are.
            return self.update(bytemuck::cast_slice(values));
        }
        let mut piece = Vec::new();
        for values in values.chunks(PIECE / size_of::<f32>()) {
            if format.encode(values, &mut piece).is_err() {
                return;
            }
            self.update(&piece);
        }
    }

    /// Hashes `bytes` bytes of a file, starting at offset `begin`.
    pub(crate) fn update_from(&mut self, path: &Path, begin: u64, bytes: u64) -> io::Result<()> {
        let mut file = durable::open_ordinary(path)?;
        file.seek(SeekFrom::Start(begin))?;
        let mut piece = vec![0; PIECE.min(bytes as usize)];
        let mut left = bytes;
        while left > 0 {
            let piece = &mut piece[..PIECE.min(left as usize)];
            file.read_exact(piece)?;
            self.update(piece);
            left -= piece.len() as u64;
        }
        Ok(())
    }

    /// Returns the checksums of the complete blocks.
    pub(crate) fn complete(&self) -> &[u64] {
        &self.sums
    }

    /// Returns all checksums. The last block may be shorter than the others.
    pub(crate) fn finish(mut self) -> Vec<u64> {
        if self.filled > 0 {
            self.end_block();
        }
        self.sums
    }

    fn end_block(&mut self) {
        self.sums.push(std::mem::take(&mut self.checksum).value());
        self.filled = 0;
    }
}

impl fmt::Debug for BlockHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockHasher").field("filled", &self.filled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_depend_on_the_pieces_they_came_in() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        let expected: Vec<u64> = bytes.chunks(64).map(|block| Checksum::of(block).value()).collect();
        for piece in [1, 7, 64, 65, 1000] {
            let mut hasher = BlockHasher::new(64);
            bytes.chunks(piece).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.complete(), &expected[..15]);
            assert_eq!(hasher.finish(), expected);
        }
    }

    #[test]
    fn numbers_give_the_same_blocks_as_their_bytes_on_disk() {
        let values: Vec<f32> = (0..PIECE / 2).map(|place| (place as f32).sin()).collect();
        for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
            let mut bytes = Vec::new();
            format.encode(&values, &mut bytes).unwrap();
            let [mut from_numbers, mut from_bytes] = [0, 1].map(|_| BlockHasher::new(1000));
            from_numbers.update_with(&values, format);
            from_bytes.update(&bytes);
            assert_eq!(from_numbers.finish(), from_bytes.finish(), "{format}");
        }
    }

    #[test]
    fn a_file_gives_the_same_blocks_as_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = vec![3; 3 * PIECE / 2];
        std::fs::write(file.path(), &bytes).unwrap();
        let (mut from_file, mut from_bytes) = (BlockHasher::new(PIECE), BlockHasher::new(PIECE));
        from_file.update_from(file.path(), 5, bytes.len() as u64 - 5).unwrap();
        from_bytes.update(&bytes[5..]);
        assert_eq!(from_file.finish(), from_bytes.finish());
        let beyond = BlockHasher::new(PIECE).update_from(file.path(), 5, bytes.len() as u64);
        assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
