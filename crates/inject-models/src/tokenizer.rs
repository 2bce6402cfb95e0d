//! Text to token ids and back.

use std::{
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use crate::ModelError;

/// Whether a prompt begins with the model's BOS token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Bos {
    /// As the tokenizer's own post-processor has it: what Hugging Face's `tokenizer(text)` gives.
    #[default]
    Auto,
    /// BOS and the text, and no other special token.
    Yes,
    /// The text alone.
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

/// A tokenizer.json that fits its model.
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
        let inner = guarded(path, || {
            let mut inner = tokenizers::Tokenizer::from_file(path).map_err(|error| {
                format!("expected a tokenizer as the tokenizers library writes it: {error}")
            })?;
            // Settings for training batches that some files carry along: they would cut or pad prompts.
            inner.with_padding(None).with_truncation(None)?;
            Ok(inner)
        })?;
        let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        if let Some((token, found)) = largest.filter(|(_, id)| *id as usize >= vocab_size) {
            return Err(ModelError::TokenizerVocabulary {
                path: path.to_owned(),
                token,
                found,
                expected: vocab_size,
            });
        }
        let hash = crate::checkpoint::file_hash(path)?;
        Ok(Tokenizer { inner, hash, bos_token_id, config_path: config_path.to_owned() })
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The ids of a text.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoBos`] where BOS is asked for and the config names none; [`ModelError::Tokenizer`] when the
    /// library refuses the text.
    pub fn encode(&self, text: &str, bos: Bos) -> Result<Vec<u32>, ModelError> {
        let begin = match bos {
            Bos::Auto | Bos::No => None,
            Bos::Yes => {
                Some(self.bos_token_id.ok_or_else(|| ModelError::NoBos { path: self.config_path.clone() })?)
            }
        };
        let encoding = guarded(&self.path(), || self.inner.encode_fast(text, bos == Bos::Auto))?;
        Ok(begin.into_iter().chain(encoding.get_ids().iter().copied()).collect())
    }

    /// Whether these ids begin with the BOS token that the config names.
    pub fn begins_with_bos(&self, ids: &[u32]) -> bool {
        self.bos_token_id.is_some() && ids.first().copied() == self.bos_token_id
    }

    /// The text of some ids, without special tokens.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenizer`] when the library cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        guarded(&self.path(), || self.inner.decode(ids, true))
    }

    /// One token as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Number of tokens it knows, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn path(&self) -> PathBuf {
        self.config_path.with_file_name("tokenizer.json")
    }
}

/// A call of the tokenizers library. It answers some malformed files with a panic, such as 0.23.2 does a
/// `continuing_subword_prefix` longer than the second part of a merge; what comes from outside is an error here.
fn guarded<T>(path: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, ModelError> {
    let reason = match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(payload) => match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
            (Some(text), _) => format!("the tokenizers library failed: {text}"),
            (None, Some(text)) => format!("the tokenizers library failed: {text}"),
            (None, None) => "the tokenizers library failed".to_owned(),
        },
    };
    Err(ModelError::Tokenizer { path: path.to_owned(), reason })
}
