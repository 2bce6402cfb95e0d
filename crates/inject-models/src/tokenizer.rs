//! Text to token ids and back.

mod added_tokens;
mod beside;
mod byte_level;
mod class;
pub(crate) mod cuts;
mod files;
mod json;
pub(crate) mod limits;
mod member;
mod mistral;
pub(crate) mod pieces;
mod place;
mod sentence_piece;
mod settled;
mod special;
mod versioned;

use std::{
    fs::File,
    io::Read,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

#[cfg(feature = "hub")]
pub(crate) use self::versioned::versioned_file;
use self::{beside::Beside, files::TokenizerFiles};
pub(crate) use self::{files::has_tiktoken, place::advice};
pub use self::{limits::TokenizerLimit, place::NoTokenizerHere, sentence_piece::SentencePieceError};
use crate::{
    checkpoint::{Gguf, refuse_pointer},
    error::ModelError,
    note::Note,
    panics,
};

/// Whether a prompt begins with the model's BOS token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Bos {
    /// The tokenizer's own post-processor decides, as in Hugging Face transformers 5. It is that of `tokenizer.json`. What
    /// `tokenizer_config.json` says about BOS beside that file is not followed; the model [notes](crate::Model::notes) a difference.
    /// If the tokenizer is built from `vocab.json` or `tokenizer.model`, `tokenizer_config.json` decides.
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

/// A tokenizer and what its model makes of it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    hash: String,
    notes: Vec<Note>,
    stated_bos: StatedBos,
    /// The file that errors name.
    path: PathBuf,
    vocab_size: usize,
    bos_token_id: Option<u32>,
    config_path: PathBuf,
}

impl Tokenizer {
    /// Checks that a folder or file that a user names has a tokenizer, usable or not.
    pub(crate) fn check_place(place: &Path) -> Result<(), ModelError> {
        TokenizerFiles::find(place).map(drop).ok_or_else(|| NoTokenizerHere::error(place))
    }

    /// Opens the tokenizer of a model with this vocabulary, from a folder or file. Returns `None` if there is none.
    pub(crate) fn open(
        place: &Path,
        vocab_size: usize,
        bos_token_id: Option<u32>,
        config_path: &Path,
    ) -> Result<Option<Self>, ModelError> {
        let Some(files) = TokenizerFiles::find(place) else { return Ok(None) };
        let path = files.path().to_owned();
        let mut built = match files {
            TokenizerFiles::Gguf(path) => match Gguf::open(path)?.tokenizer()? {
                Some(built) => built,
                None => return Ok(None),
            },
            TokenizerFiles::Json(path) => {
                refuse_pointer(&path)?;
                let beside = Beside::read(&path)?;
                json::build(&path, &beside, vocab_size)?.with(&beside)
            }
            TokenizerFiles::ByteLevel { vocab, merges } => {
                let beside = Beside::read(&vocab)?;
                byte_level::build(&vocab, &merges, &beside, vocab_size)?.with(&beside)
            }
            TokenizerFiles::SentencePiece(path) => {
                let beside = Beside::read(&path)?;
                sentence_piece::build(&path, &beside, vocab_size)?.with(&beside)
            }
        };
        // Some files carry settings for training batches, which would cut or pad prompts.
        guarded(|| built.tokenizer.with_padding(None).with_truncation(None).map(drop))
            .map_err(|source| ModelError::Tokenizer { path: path.clone(), source })?;
        Ok(Some(Self::new(built, &path, vocab_size, bos_token_id, config_path)))
    }

    /// Puts a tokenizer from the file at `path` beside a model.
    pub(crate) fn new(
        built: Built,
        path: &Path,
        vocab_size: usize,
        bos_token_id: Option<u32>,
        config_path: &Path,
    ) -> Self {
        let Built { tokenizer: inner, hash, notes, stated_bos } = built;
        let (path, config_path) = (path.to_owned(), config_path.to_owned());
        Tokenizer { inner, hash, notes, stated_bos, path, vocab_size, bos_token_id, config_path }
    }

    /// Facts that a user should know about the tokenizer.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let vocab_size = self.vocab_size;
        let vocabulary = self.inner.get_vocab(true);
        let beyond: Vec<(String, u32)> =
            vocabulary.into_iter().filter(|(_, id)| *id as usize >= vocab_size).collect();
        let count = beyond.len();
        let first = beyond.into_iter().min_by_key(|(_, id)| *id);
        let beyond = first.map(|(token, id)| Note::TokensBeyond { count, token, id, vocab_size });

        let StatedBos { added: says, token } = &self.stated_bos;
        // The BOS of the tokenizer: some configs of Llama 1 name another one.
        let bos = token.as_ref().and_then(|token| self.inner.token_to_id(token));
        let around = self.encode("", Bos::Auto).unwrap_or_default();
        let begins_with_bos =
            self.begins_with_bos(&around) || (bos.is_some() && around.first().copied() == bos);
        // A file that says so and names no BOS means whatever token the tokenizer itself puts before a text.
        let added = begins_with_bos || (bos.is_none() && *says == Some(true) && self.puts_a_token_before());
        let other = says.filter(|says| *says != added).map(|_| Note::OtherBos { added });
        self.notes.iter().cloned().chain(beyond).chain(other).collect()
    }

    /// Returns whether the tokenizer puts a token before a text.
    fn puts_a_token_before(&self) -> bool {
        let first = |bos| self.encode("a", bos).ok().and_then(|ids| ids.first().copied());
        first(Bos::Auto) != first(Bos::No)
    }

    /// Returns the SHA-256 of the file, in hexadecimal; of `vocab.json` and `merges.txt` together, that of their sums.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Encodes a text as token ids.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::NoBos`] if BOS is wanted and the config names none, with [`ModelError::Tokenize`] if the library
    /// refuses the text, and with [`ModelError::TokenizerVocabulary`] if it has a token that the model does not have.
    pub fn encode(&self, text: &str, bos: Bos) -> Result<Vec<u32>, ModelError> {
        let ids = self.ids(text, bos)?;
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            None => Ok(ids),
            Some(&found) => Err(ModelError::TokenizerVocabulary {
                path: self.path.clone(),
                token: self.token(found).unwrap_or_default(),
                found,
                expected: self.vocab_size,
            }),
        }
    }

    /// Encodes a text, also by tokens that the model does not have.
    fn ids(&self, text: &str, bos: Bos) -> Result<Vec<u32>, ModelError> {
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
        guarded(|| call(&self.inner))
            .map_err(|source| ModelError::Tokenize { path: self.path.clone(), source })
    }
}

/// A tokenizer of the library, and the SHA-256 of what it was built from.
#[derive(Debug)]
pub(crate) struct Built {
    tokenizer: tokenizers::Tokenizer,
    hash: String,
    /// The ways in which it differs from its file, and from what transformers makes of that.
    notes: Vec<Note>,
    stated_bos: StatedBos,
}

/// The statements of `tokenizer_config.json` about BOS.
#[derive(Clone, Debug, Default)]
struct StatedBos {
    /// Whether texts begin with it.
    added: Option<bool>,
    token: Option<String>,
}

impl Built {
    pub(crate) fn new(tokenizer: tokenizers::Tokenizer, hash: String) -> Self {
        Built { tokenizer, hash, notes: Vec::new(), stated_bos: StatedBos::default() }
    }

    /// Adds the settings of the files beside it that hold for tokenizers of every kind.
    fn with(mut self, beside: &Beside) -> Self {
        self.tokenizer.set_encode_special_tokens(beside.flag("split_special_tokens").unwrap_or_default());
        let token = beside.token("bos_token").map(str::to_owned);
        self.stated_bos = StatedBos { added: beside.flag("add_bos_token"), token };
        self.notes.extend(beside.own_code().map(|class| Note::OwnTokenizerCode { class: class.to_owned() }));
        self
    }
}

/// Reads a file after its length is checked.
fn read_checked(
    path: &Path,
    check: impl Fn(u64) -> Result<(), TokenizerLimit>,
) -> Result<Vec<u8>, ModelError> {
    let read_error = |source| ModelError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read_error)?;
    let length = file.metadata().map_err(read_error)?.len();
    check(length).map_err(|limit| ModelError::Tokenizer { path: path.to_owned(), source: limit.into() })?;
    let mut bytes = Vec::with_capacity(length as usize);
    (&mut file).take(length).read_to_end(&mut bytes).map_err(read_error)?;
    Ok(bytes)
}

/// Calls the tokenizers library and turns a panic into an error.
///
/// The library panics at some malformed files, such as (in 0.23.2) a `continuing_subword_prefix` longer than the second
/// part of a merge.
pub(crate) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = panics::message(payload.as_ref()).unwrap_or("no message");
        Err(format!("the tokenizers library failed: {text}").into())
    })
}
