//! A download on its way: the bytes on disk and their hash.

use std::{
    fs::File,
    io::{Seek, Write},
    mem::replace,
    path::PathBuf,
};

use super::{
    answer::Answer,
    below::Trouble,
    cache::RepoCache,
    identity::{Identity, RunningHash},
    verified::hash_rest,
};

/// An unfinished file of the cache.
pub(super) struct Part<'a> {
    answer: &'a Answer,
    file: File,
    hash: RunningHash,
    /// Its path in the cache.
    pub(super) path: PathBuf,
    /// Bytes present. Never more than the file's size.
    pub(super) length: u64,
}

impl<'a> Part<'a> {
    /// Opens what an interrupted download left. Without a hash that will show whether the rest fits, it starts over.
    pub(super) fn open(cache: &RepoCache, key: &str, answer: &'a Answer) -> Result<Self, Trouble> {
        let (mut file, path) = cache.part(key)?;
        let mut hash = RunningHash::new(&answer.identity, answer.size);
        let length = hash_rest(&mut file, &mut hash).map_err(Trouble::at(&path))?;
        let mut part = Part { answer, file, hash, path, length };
        if length > answer.size || answer.identity == Identity::Opaque {
            part.restart()?;
        }
        Ok(part)
    }

    /// Empties the file, for a download from its beginning.
    pub(super) fn restart(&mut self) -> Result<(), Trouble> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Trouble::at(&self.path))?;
        self.hash = RunningHash::new(&self.answer.identity, self.answer.size);
        self.length = 0;
        Ok(())
    }

    /// Adds bytes, which must not be more than are missing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.file.write_all(bytes).map_err(Trouble::at(&self.path))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes that are still to come.
    pub(super) fn missing(&self) -> u64 {
        self.answer.size - self.length
    }

    /// The hash of the bytes, which are on the disk when this returns. Afterwards, the part can only be restarted.
    pub(super) fn finish(&mut self) -> Result<String, Trouble> {
        self.file.sync_all().map_err(Trouble::at(&self.path))?;
        Ok(replace(&mut self.hash, RunningHash::new(&self.answer.identity, self.answer.size)).finish())
    }
}
