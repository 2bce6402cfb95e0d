//! The tokenizer of a GGUF file, built from its metadata as `tokenizer.json` describes it.

mod byte_level;
mod sentence_piece;

use sha2::{Digest, Sha256};

use super::{
    Gguf, cursor,
    settings::shown,
    value::{List, Value},
};
use crate::{
    error::ModelError,
    tokenizer::{
        Built, limits,
        pieces::{Around, Kind, Parts, Pieces},
    },
};

/// The metadata of a GGUF file that describe its tokens.
struct Vocabulary<'a> {
    gguf: &'a Gguf,
    pieces: Pieces,
    /// The ids of special tokens whose keys are missing.
    unnamed: &'static [(&'static str, u32)],
}

/// The ids that special tokens have in a SentencePiece vocabulary if the file does not name them.
///
/// # Source
///
/// ggml-org/llama.cpp, `src/llama-vocab.cpp`. Its converter names no token that only `tokenizer.model` describes.
const SENTENCE_PIECE_IDS: &[(&str, u32)] = &[
    ("tokenizer.ggml.unknown_token_id", 0),
    ("tokenizer.ggml.bos_token_id", 1),
    ("tokenizer.ggml.eos_token_id", 2),
];

impl Gguf {
    /// Builds the tokenizer, if the file has one.
    ///
    /// # Errors
    ///
    /// Fails if a key is missing or malformed, or names a kind of tokenizer that is not built.
    pub(crate) fn tokenizer(&self) -> Result<Option<Built>, ModelError> {
        const KEY: &str = "tokenizer.ggml.model";
        let model = match self.text(KEY)? {
            None | Some("none" | "no_vocab") => return Ok(None),
            Some(model) => model,
        };
        let tokenizer = match model {
            "gpt2" => {
                let vocabulary = Vocabulary::of(self, &[])?;
                let (parts, begins_with_bos) = byte_level::parts(&vocabulary)?;
                vocabulary.assemble(parts, begins_with_bos)?
            }
            "llama" => {
                let vocabulary = Vocabulary::of(self, SENTENCE_PIECE_IDS)?.with_signs_for_spaces();
                vocabulary.assemble(sentence_piece::parts(&vocabulary)?, true)?
            }
            _ => return Err(self.bad(KEY, &format!("{model:?}"), "`gpt2` or `llama`")),
        };
        let mut hasher = Sha256::new();
        self.head.tokenizer.iter().for_each(|place| hasher.update(&self.map[place.clone()]));
        Ok(Some(Built::new(tokenizer, hex::encode(hasher.finalize()))))
    }

    fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        match self.head.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(place)) => Ok(Some(cursor::text(&self.map, place))),
            Some(other) => Err(self.bad(key, &shown(&self.map, other), "a text")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        match self.head.metadata.get(key) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.bad(key, &shown(&self.map, other), "true or false")),
        }
    }

    fn list(&self, key: &str, expected: &str) -> Result<&List, ModelError> {
        match self.head.metadata.get(key) {
            Some(Value::List(list)) => Ok(list),
            Some(other) => Err(self.bad(key, &shown(&self.map, other), expected)),
            None => Err(ModelError::missing_key(&self.path, key, expected)),
        }
    }

    fn texts(&self, key: &str) -> Result<impl Iterator<Item = &str>, ModelError> {
        const EXPECTED: &str = "a list of texts";
        let list = self.list(key, EXPECTED)?;
        match list.items {
            super::value::Kind::Text => Ok(list.values(&self.map).map(|value| match value {
                Value::Text(place) => cursor::text(&self.map, &place),
                _ => "",
            })),
            _ => Err(self.bad(key, &shown(&self.map, &Value::List(list.clone())), EXPECTED)),
        }
    }

    /// One number for each token.
    fn numbers<T>(
        &self,
        key: &str,
        tokens: usize,
        number: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, ModelError> {
        let expected = format!("a list of {tokens} numbers, one for each token");
        let list = self.list(key, &expected)?;
        if list.len != tokens {
            return Err(self.bad(key, &format!("a list of {}", list.len), &expected));
        }
        let numbers = list.values(&self.map).map(number).collect::<Option<Vec<T>>>();
        numbers.ok_or_else(|| self.bad(key, &shown(&self.map, &Value::List(list.clone())), &expected))
    }

    fn bad(&self, key: &str, found: &str, expected: &str) -> ModelError {
        ModelError::bad_key(&self.path, key, found, expected)
    }

    fn refused(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), source: source.into() }
    }
}

impl<'a> Vocabulary<'a> {
    fn of(gguf: &'a Gguf, unnamed: &'static [(&'static str, u32)]) -> Result<Self, ModelError> {
        const KEY: &str = "tokenizer.ggml.tokens";
        limits::check_tokens(gguf.texts(KEY)?).map_err(|limit| gguf.refused(limit))?;
        let tokens: Vec<String> = gguf.texts(KEY)?.map(str::to_owned).collect();
        let kinds = gguf.numbers("tokenizer.ggml.token_type", tokens.len(), |value| match value {
            Value::Signed(kind) => Some(Kind::of(kind)),
            Value::Unsigned(kind) => i64::try_from(kind).ok().map(Kind::of),
            _ => None,
        })?;
        Ok(Vocabulary { gguf, pieces: Pieces { tokens, kinds }, unnamed })
    }

    /// Returns the id of each token.
    fn table(&self) -> Result<tokenizers::models::bpe::Vocab, ModelError> {
        self.pieces.table().map_err(|(token, [first, second])| {
            let found = format!("{token:?} at {first} and {second}");
            self.gguf.bad("tokenizer.ggml.tokens", &found, "every token once")
        })
    }

    /// Puts the tokenizer together. The file may say whether texts begin with BOS.
    fn assemble(&self, parts: Parts, begins_with_bos: bool) -> Result<tokenizers::Tokenizer, ModelError> {
        let begins = self.gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins_with_bos);
        let ends = self.gguf.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        let around = Around {
            before: begins.then(|| self.special("tokenizer.ggml.bos_token_id")).transpose()?,
            after: ends.then(|| self.special("tokenizer.ggml.eos_token_id")).transpose()?,
        };
        self.pieces.assemble(parts, around).map_err(|error| self.gguf.refused(error))
    }

    /// The token that a key names by its id, or the usual one if the key is missing.
    fn special(&self, key: &str) -> Result<(u32, &str), ModelError> {
        let expected = format!("the id of one of {} tokens", self.pieces.tokens.len());
        let usual = self.unnamed.iter().find(|(unnamed, _)| *unnamed == key);
        let usual = usual.map(|&(_, id)| Value::Unsigned(id.into()));
        let Some(value) = self.gguf.head.metadata.get(key).or(usual.as_ref()) else {
            return Err(ModelError::missing_key(&self.gguf.path, key, &expected));
        };
        let id = value.whole().and_then(|id| usize::try_from(id).ok());
        let token = id.and_then(|id| Some((id as u32, self.pieces.tokens.get(id)?.as_str())));
        token.ok_or_else(|| self.gguf.bad(key, &shown(&self.gguf.map, value), &expected))
    }
}
