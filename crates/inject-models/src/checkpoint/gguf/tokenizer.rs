//! The tokenizer of a GGUF file, built from its metadata as `tokenizer.json` describes it.

mod byte_level;
mod sentence_piece;

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    models::bpe::BpeBuilder,
};

use super::{
    Gguf, cursor,
    settings::shown,
    value::{List, Value},
};
use crate::{
    error::ModelError,
    tokenizer::{guarded, limits},
};

/// The kinds of tokens that text is searched for before anything else.
///
/// # Source
///
/// github.com/ggml-org/llama.cpp, `gguf-py/gguf/constants.py` (`TokenType`).
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// A tokenizer from a file.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) tokenizer: tokenizers::Tokenizer,
    /// The SHA-256 of the metadata that it was built from.
    pub(crate) hash: String,
}

/// The parts of a tokenizer apart from its tokens.
struct Parts {
    model: BpeBuilder,
    normalizer: Option<Json>,
    pre_tokenizer: Option<Json>,
    decoder: Json,
    /// Whether texts begin with BOS if the file does not say.
    begins_with_bos: bool,
}

/// The lists of the metadata that have one element a token.
struct Vocabulary<'a> {
    gguf: &'a Gguf,
    tokens: Vec<String>,
    kinds: Vec<i64>,
}

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
                let vocabulary = Vocabulary::of(self)?;
                vocabulary.assemble(byte_level::parts(&vocabulary)?)?
            }
            "llama" => {
                let vocabulary = Vocabulary::of(self)?.with_signs_for_spaces();
                vocabulary.assemble(sentence_piece::parts(&vocabulary)?)?
            }
            _ => return Err(self.bad(KEY, &format!("{model:?}"), "`gpt2` or `llama`")),
        };
        let mut hasher = Sha256::new();
        self.head.tokenizer.iter().for_each(|place| hasher.update(&self.map[place.clone()]));
        Ok(Some(Built { tokenizer, hash: hex::encode(hasher.finalize()) }))
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
    fn of(gguf: &'a Gguf) -> Result<Self, ModelError> {
        const KEY: &str = "tokenizer.ggml.tokens";
        limits::check_tokens(gguf.texts(KEY)?).map_err(|limit| gguf.refused(limit))?;
        let tokens: Vec<String> = gguf.texts(KEY)?.map(str::to_owned).collect();
        let kinds = gguf.numbers("tokenizer.ggml.token_type", tokens.len(), |value| match value {
            Value::Signed(kind) => Some(kind),
            Value::Unsigned(kind) => i64::try_from(kind).ok(),
            _ => None,
        })?;
        Ok(Vocabulary { gguf, tokens, kinds })
    }

    fn ids(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.tokens.iter().map(String::as_str))
    }

    /// Returns the tokens with their ids.
    fn table(&self) -> Result<tokenizers::models::bpe::Vocab, ModelError> {
        let mut table = tokenizers::models::bpe::Vocab::default();
        for (id, token) in self.ids() {
            if let Some(first) = table.insert(token.to_owned(), id) {
                let found = format!("{token:?} at {first} and {id}");
                return Err(self.gguf.bad("tokenizer.ggml.tokens", &found, "every token once"));
            }
        }
        Ok(table)
    }

    fn assemble(&self, parts: Parts) -> Result<tokenizers::Tokenizer, ModelError> {
        let normalizer = self.part::<NormalizerWrapper>(parts.normalizer)?;
        let pre_tokenizer = self.part::<PreTokenizerWrapper>(parts.pre_tokenizer)?;
        let decoder = self.part::<DecoderWrapper>(Some(parts.decoder))?;
        let template = self.template(parts.begins_with_bos)?;
        let template = self.part::<PostProcessorWrapper>(Some(template))?;
        limits::check_added(self.added().map(|(_, token)| token))
            .map_err(|limit| self.gguf.refused(limit))?;
        let added =
            self.added().map(|(kind, token)| AddedToken::from(token, kind == CONTROL).normalized(false));
        let (special, plain): (Vec<AddedToken>, Vec<AddedToken>) = added.partition(|token| token.special);
        guarded(|| {
            let mut tokenizer = tokenizers::Tokenizer::new(parts.model.build()?);
            tokenizer.with_normalizer(normalizer)?;
            tokenizer.with_pre_tokenizer(pre_tokenizer);
            tokenizer.with_decoder(decoder);
            tokenizer.with_post_processor(template);
            tokenizer.add_special_tokens(special)?;
            tokenizer.add_tokens(plain)?;
            Ok(tokenizer)
        })
        .map_err(|error| self.gguf.refused(error))
    }

    /// The tokens that text is searched for before anything else, each after its kind.
    fn added(&self) -> impl Iterator<Item = (i64, &str)> {
        // SentencePiece finds runs of its own sign for spaces in the text by merging them.
        let is_spaces = |token: &str| token.chars().all(|sign| sign == sentence_piece::SPACE);
        let tokens = self.kinds.iter().copied().zip(self.tokens.iter().map(String::as_str));
        tokens.filter(move |(kind, token)| match *kind {
            CONTROL => true,
            USER_DEFINED => !is_spaces(token),
            _ => false,
        })
    }

    /// The tokens around every text.
    fn template(&self, begins_with_bos: bool) -> Result<Json, ModelError> {
        let begins = self.gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins_with_bos);
        let ends = self.gguf.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        let bos = begins.then(|| self.special("tokenizer.ggml.bos_token_id")).transpose()?;
        let eos = ends.then(|| self.special("tokenizer.ggml.eos_token_id")).transpose()?;
        let piece = |token: &(u32, &str)| json!({ "SpecialToken": { "id": token.1, "type_id": 0 } });
        let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let single: Vec<Json> = bos.iter().map(piece).chain([text]).chain(eos.iter().map(piece)).collect();
        let special: serde_json::Map<String, Json> = bos
            .iter()
            .chain(&eos)
            .map(|&(id, token)| (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] })))
            .collect();
        let pair =
            json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }]);
        Ok(json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special }))
    }

    /// The token that a key names by its id.
    fn special(&self, key: &str) -> Result<(u32, &str), ModelError> {
        let expected = format!("the id of one of {} tokens", self.tokens.len());
        let Some(value) = self.gguf.head.metadata.get(key) else {
            return Err(ModelError::missing_key(&self.gguf.path, key, &expected));
        };
        let id = if let Value::Unsigned(id) = value { usize::try_from(*id).ok() } else { None };
        let token = id.and_then(|id| Some((id as u32, self.tokens.get(id)?.as_str())));
        token.ok_or_else(|| self.gguf.bad(key, &shown(&self.gguf.map, value), &expected))
    }

    fn part<T: DeserializeOwned>(&self, description: Option<Json>) -> Result<Option<T>, ModelError> {
        description.map(serde_json::from_value).transpose().map_err(|error| self.gguf.refused(error))
    }
}
