//! `prompts.safetensors`: the token ids of every prompt, which make a store self-contained.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::store::{error::StoreError, layout::FileSpec, manifest::Manifest, read::mapped::Mapped};

const OFFSETS: usize = 0;
const TOKEN_IDS: usize = 1;

/// The checked prompts of a finished store.
#[derive(Debug)]
pub(crate) struct PromptIds {
    mapped: Mapped,
}

impl PromptIds {
    /// Opens and checks the file.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the offsets do not increase from 0 to the number of tokens, if an id is negative, or if the prompts do
    /// not have the hash in the manifest.
    pub(crate) fn open(dir: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        let prompts = PromptIds { mapped: Mapped::open(dir, &FileSpec::prompts(manifest))? };
        prompts.check_offsets(manifest.token_count)?;
        let ids = prompts.mapped.elements::<i32>(TOKEN_IDS);
        if let Some(index) = ids.iter().position(|&id| id < 0) {
            return Err(prompts.value("token_ids", index, ids[index].into(), "no negative id".to_owned()));
        }
        let mut hash = Sha256::new();
        hash.update(prompts.mapped.bytes(OFFSETS));
        hash.update(prompts.mapped.bytes(TOKEN_IDS));
        let found = hex::encode(hash.finalize());
        if found != manifest.prompts_sha256 {
            return Err(StoreError::Field {
                path: prompts.mapped.path().to_owned(),
                field: "prompts_sha256".to_owned(),
                found,
                expected: manifest.prompts_sha256.clone(),
            });
        }
        Ok(prompts)
    }

    /// Returns the offset of the first token of each prompt, followed by the total number of tokens.
    pub(crate) fn offsets(&self) -> &[i64] {
        self.mapped.elements(OFFSETS)
    }

    /// Returns the token ids of one prompt.
    pub(crate) fn prompt(&self, prompt: usize) -> &[u32] {
        let offsets = self.offsets();
        let tokens = offsets[prompt] as usize..offsets[prompt + 1] as usize;
        // No id is negative, so I32 and u32 agree.
        &self.mapped.elements(TOKEN_IDS)[tokens]
    }

    fn check_offsets(&self, tokens: usize) -> Result<(), StoreError> {
        let offsets = self.offsets();
        let wrong = |index: usize, expected| self.value("offsets", index, offsets[index], expected);
        if offsets[0] != 0 {
            return Err(wrong(0, "0".to_owned()));
        }
        if let Some(before) = offsets.windows(2).position(|pair| pair[1] <= pair[0]) {
            return Err(wrong(before + 1, format!("more than the {} before it", offsets[before])));
        }
        match offsets[offsets.len() - 1] == tokens as i64 {
            true => Ok(()),
            false => Err(wrong(offsets.len() - 1, format!("the number of tokens, {tokens}"))),
        }
    }

    fn value(&self, tensor: &'static str, index: usize, found: i64, expected: String) -> StoreError {
        StoreError::Value { path: self.mapped.path().to_owned(), tensor, index, found, expected }
    }
}

/// Writes the header and the prompts, and makes them durable.
pub(crate) fn write(path: &Path, spec: &FileSpec, prompts: &[Vec<u32>]) -> Result<(), StoreError> {
    let write = || {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&spec.header())?;
        each_chunk(prompts, |bytes| out.write_all(bytes))?;
        out.flush()?;
        out.get_ref().sync_all()
    };
    write().map_err(StoreError::io("write", path))
}

/// Returns the SHA-256, in hexadecimal, of the data that [`write()`] writes after the header.
pub(crate) fn sha256(prompts: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    let infallible: Result<(), std::convert::Infallible> = each_chunk(prompts, |bytes| {
        hash.update(bytes);
        Ok(())
    });
    let Ok(()) = infallible;
    hex::encode(hash.finalize())
}

/// Passes the data of the file to `take` piece by piece: `offsets`, then `token_ids`.
fn each_chunk<E>(prompts: &[Vec<u32>], mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut offset = 0i64;
    take(&offset.to_le_bytes())?;
    for prompt in prompts {
        offset += prompt.len() as i64;
        take(&offset.to_le_bytes())?;
    }
    // Ids are below 2^31, so u32 and I32 agree.
    prompts.iter().flatten().try_for_each(|id| take(&id.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_file_without_its_header() {
        // printf '\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\7\0\0\0\10\0\0\0\11\0\0\0' | sha256sum
        let expected = "8ce72686d145132299e884ebec23c0a459a949d30a49fb6a9df48bbc4e2e4ea1";
        assert_eq!(sha256(&[vec![7, 8], vec![9]]), expected);
    }

    #[test]
    fn where_one_prompt_ends_matters() {
        assert_ne!(sha256(&[vec![7, 8], vec![9]]), sha256(&[vec![7], vec![8, 9]]));
    }
}
