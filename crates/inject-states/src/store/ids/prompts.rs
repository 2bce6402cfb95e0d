//! `prompts.safetensors`: the token ids of every prompt, which make a store self-contained.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::extent::PromptIter;
use crate::store::{
    error::StoreError,
    layout::FileSpec,
    manifest::{Manifest, positions::Positions},
    read::mapped::Mapped,
};

const OFFSETS: usize = 0;
const TOKEN_IDS: usize = 1;

/// The number of prompts after which [`PromptIds::in_passing`] releases the memory pages of those that it passed.
const PASSED: usize = 1 << 14;

/// The checked prompts of a store.
#[derive(Debug)]
pub(crate) struct PromptIds {
    mapped: Mapped,
}

impl PromptIds {
    /// Opens and checks the file of a finished store.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the offsets do not increase from 0 to the number of tokens, if an id is negative, or if the prompts do
    /// not have the hash in the manifest.
    pub(crate) fn open(dir: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        PromptIds::open_at(&FileSpec::prompts(manifest).path(dir), manifest)
    }

    /// As [`PromptIds::open`], wherever the file is.
    pub(crate) fn open_at(path: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        let prompts = PromptIds { mapped: Mapped::open_at(path, &FileSpec::prompts(manifest))? };
        prompts.check(manifest)?;
        prompts.release();
        Ok(prompts)
    }

    fn check(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let mut hash = Sha256::new();
        let (mut index, mut before) = (0, None);
        for piece in self.mapped.pieces::<i64>(OFFSETS) {
            hash.update(bytemuck::cast_slice(piece));
            for &offset in piece {
                let expected = match before {
                    None if offset != 0 => Some("0".to_owned()),
                    Some(before) if offset <= before => Some(format!("more than the {before} before it")),
                    _ => None,
                };
                if let Some(expected) = expected {
                    return Err(self.value("offsets", index, offset, expected));
                }
                (index, before) = (index + 1, Some(offset));
            }
        }
        let (found, tokens) = (before.unwrap_or_default(), manifest.token_count);
        if found != tokens as i64 {
            return Err(self.value("offsets", index - 1, found, format!("the number of tokens, {tokens}")));
        }
        let mut begin = 0;
        for piece in self.mapped.pieces::<i32>(TOKEN_IDS) {
            hash.update(bytemuck::cast_slice(piece));
            if let Some(at) = piece.iter().position(|&id| id < 0) {
                let found = piece[at].into();
                return Err(self.value("token_ids", begin + at, found, "no negative id".to_owned()));
            }
            begin += piece.len();
        }
        let found = hex::encode(hash.finalize());
        match found == manifest.prompts_sha256 {
            true => Ok(()),
            false => Err(StoreError::Field {
                path: self.mapped.path().to_owned(),
                field: "prompts_sha256".to_owned(),
                found,
                expected: manifest.prompts_sha256.clone(),
            }),
        }
    }

    /// Returns the token ids of one prompt.
    pub(crate) fn prompt(&self, prompt: usize) -> &[u32] {
        // No id is negative, so I32 and u32 agree.
        &self.mapped.elements(TOKEN_IDS)[self.tokens_of(prompt..prompt + 1)]
    }

    /// Returns the number of rows of some prompts.
    pub(crate) fn rows(&self, prompts: Range<usize>, positions: Positions) -> usize {
        match positions {
            Positions::Last => prompts.len(),
            Positions::All => self.tokens_of(prompts).len(),
        }
    }

    /// Returns the tokens of some prompts, counted over all prompts.
    pub(crate) fn tokens_of(&self, prompts: Range<usize>) -> Range<usize> {
        let offsets: &[i64] = self.mapped.elements(OFFSETS);
        offsets[prompts.start] as usize..offsets[prompts.end] as usize
    }

    /// Returns all prompts. The memory pages of those that were passed are released.
    pub(crate) fn in_passing(&self) -> impl PromptIter<'_> {
        let count = self.mapped.elements::<i64>(OFFSETS).len() - 1;
        let prompts = (0..count).map(|prompt| {
            if prompt % PASSED == 0 {
                self.release();
            }
            self.prompt(prompt)
        });
        let last = std::iter::once(()).filter_map(|()| {
            self.release();
            None
        });
        prompts.chain(last)
    }

    /// Releases the memory pages that were read. Later reads load them from the file again.
    pub(crate) fn release(&self) {
        self.mapped.release();
    }

    fn value(&self, tensor: &'static str, index: usize, found: i64, expected: String) -> StoreError {
        StoreError::Value { path: self.mapped.path().to_owned(), tensor, index, found, expected }
    }
}

/// Writes the header and the prompts, and makes them durable.
pub(crate) fn write<'a>(
    path: &Path,
    spec: &FileSpec,
    prompts: impl PromptIter<'a>,
) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&spec.header())?;
        let mut offset = 0_i64;
        out.write_all(&offset.to_le_bytes())?;
        for ids in prompts.clone() {
            offset += ids.len() as i64;
            out.write_all(&offset.to_le_bytes())?;
        }
        // Ids are below 2^31, so u32 and I32 agree.
        prompts.clone().try_for_each(|ids| out.write_all(bytemuck::cast_slice(ids)))?;
        out.flush()?;
        out.get_ref().sync_all()
    };
    write().map_err(StoreError::io("write", path))
}

/// Returns the SHA-256, in hexadecimal, of the data that [`write()`] writes after the header.
pub(crate) fn sha256<'a>(prompts: impl PromptIter<'a>) -> String {
    let mut hash = PromptHash::new();
    prompts.clone().for_each(|ids| hash.add_length(ids.len()));
    prompts.for_each(|ids| hash.add_ids(ids));
    hash.value()
}

/// The hash of prompts that are read twice: [`sha256`] without all of them at once.
#[derive(Clone)]
pub(crate) struct PromptHash {
    hash: Sha256,
    offset: i64,
}

impl PromptHash {
    pub(crate) fn new() -> Self {
        let mut hash = Sha256::new();
        hash.update(0_i64.to_le_bytes());
        PromptHash { hash, offset: 0 }
    }

    /// Adds the length of the next prompt. The lengths of all come before the ids of the first.
    pub(crate) fn add_length(&mut self, length: usize) {
        self.offset += length as i64;
        self.hash.update(self.offset.to_le_bytes());
    }

    /// Adds the ids of the next prompt.
    pub(crate) fn add_ids(&mut self, ids: &[u32]) {
        self.hash.update(bytemuck::cast_slice(ids));
    }

    /// Returns the hash in hexadecimal.
    pub(crate) fn value(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(prompts: &[&[u32]]) -> String {
        sha256(prompts.iter().copied())
    }

    #[test]
    fn the_hash_is_that_of_the_file_without_its_header() {
        // printf '\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\7\0\0\0\10\0\0\0\11\0\0\0' | sha256sum
        let expected = "8ce72686d145132299e884ebec23c0a459a949d30a49fb6a9df48bbc4e2e4ea1";
        assert_eq!(hash(&[&[7, 8], &[9]]), expected);
    }

    #[test]
    fn where_one_prompt_ends_matters() {
        assert_ne!(hash(&[&[7, 8], &[9]]), hash(&[&[7], &[8, 9]]));
    }
}
