//! Text to token ids and back.

mod limits;

use std::{
    fs::File,
    io::Read,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use self::limits::TokenizerLimit;
use crate::{checkpoint::refuse_pointer, error::ModelError};

/// Whether a prompt begins with the model's BOS token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Bos {
    /// The tokenizer's own post-processor decides, as in Hugging Face's `tokenizer(text)`.
    #[default]
    Auto,
    /// The prompt is BOS and the text, without other special tokens.
    Yes,
    /// The prompt is the text alone.
    No,
}

impl std::fmt::Display for Bos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bos::Auto => "auto",
            Bos::Yes => "yes",
            Bos::No => "no",
        })
    }
}

impl std::str::FromStr for Bos {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Bos::Auto),
            "yes" => Ok(Bos::Yes),
            "no" => Ok(Bos::No),
            _ => Err(ModelError::UnknownBos { found: text.to_owned() }),
        }
    }
}

/// A `tokenizer.json` whose ids fit the vocabulary of its model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    hash: String,
    bos_token_id: Option<u32>,
    config_path: PathBuf,
}

impl Tokenizer {
    pub(crate) fn load(
        path: &Path,
        vocab_size: usize,
        bos_token_id: Option<u32>,
        config_path: &Path,
    ) -> Result<Self, ModelError> {
        refuse_pointer(path)?;
        let refused =
            |source: TokenizerLimit| ModelError::Tokenizer { path: path.to_owned(), source: source.into() };
        let read_error = |source| ModelError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read_error)?;
        let length = file.metadata().map_err(read_error)?.len();
        limits::check_length(length, vocab_size).map_err(refused)?;
        let mut text = Vec::with_capacity(length as usize);
        (&mut file).take(length).read_to_end(&mut text).map_err(read_error)?;
        limits::check(&text).map_err(refused)?;
        let hash = hex::encode(Sha256::digest(&text));
        let inner = guarded(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(&text)?;
            // Some files carry settings for training batches, which would cut or pad prompts.
            inner.with_padding(None).with_truncation(None)?;
            Ok(inner)
        })
        .map_err(|source| ModelError::Tokenizer { path: path.to_owned(), source })?;
        drop(text);
        Self::new(inner, hash, path, vocab_size, bos_token_id, config_path)
    }

    /// Checks a tokenizer from the file at `path`.
    pub(crate) fn new(
        inner: tokenizers::Tokenizer,
        hash: String,
        path: &Path,
        vocab_size: usize,
        bos_token_id: Option<u32>,
        config_path: &Path,
    ) -> Result<Self, ModelError> {
        let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        if let Some((token, found)) = largest.filter(|(_, id)| *id as usize >= vocab_size) {
            return Err(ModelError::TokenizerVocabulary {
                path: path.to_owned(),
                token,
                found,
                expected: vocab_size,
            });
        }
        Ok(Tokenizer { inner, hash, bos_token_id, config_path: config_path.to_owned() })
    }

    /// Returns the SHA-256 of the file, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Encodes a text as token ids.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::NoBos`] if BOS is wanted and the config names none, and with [`ModelError::Tokenize`] if the
    /// library refuses the text.
    pub fn encode(&self, text: &str, bos: Bos) -> Result<Vec<u32>, ModelError> {
        let begin = match bos {
            Bos::Auto | Bos::No => None,
            Bos::Yes => {
                Some(self.bos_token_id.ok_or_else(|| ModelError::NoBos { path: self.config_path.clone() })?)
            }
        };
        let encoding = self.call(|inner| inner.encode_fast(text, bos == Bos::Auto))?;
        Ok(begin.into_iter().chain(encoding.get_ids().iter().copied()).collect())
    }

    /// Returns the BOS token if the ids of every text begin with it.
    ///
    /// # Errors
    ///
    /// Fails as [`Tokenizer::encode`] does.
    pub fn first_token(&self, bos: Bos) -> Result<Option<u32>, ModelError> {
        // The ids of the empty text are the special tokens around every text.
        let ids = self.encode("", bos)?;
        Ok(ids.first().copied().filter(|_| self.begins_with_bos(&ids)))
    }

    /// Returns whether these ids begin with the BOS token that the config names.
    pub fn begins_with_bos(&self, ids: &[u32]) -> bool {
        self.bos_token_id.is_some() && ids.first().copied() == self.bos_token_id
    }

    /// Decodes token ids as text, without special tokens.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::Tokenize`] if the library cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.call(|inner| inner.decode(ids, true))
    }

    /// Returns a token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns the number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn call<T>(
        &self,
        call: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, ModelError> {
        let path = || self.config_path.with_file_name("tokenizer.json");
        guarded(|| call(&self.inner)).map_err(|source| ModelError::Tokenize { path: path(), source })
    }
}

/// Calls the tokenizers library and turns a panic into an error.
///
/// The library panics at some malformed files, such as (in 0.23.2) a `continuing_subword_prefix` longer than the second
/// part of a merge.
pub(crate) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("the tokenizers library failed: {text}").into())
    })
}
