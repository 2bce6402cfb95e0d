//! The files beside a vocabulary, each read once.

use std::{collections::BTreeMap, path::Path};

use indexmap::IndexMap;
use serde::{
    Deserialize,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::member::Member;
use crate::{checkpoint::read_text, error::ModelError};

/// A token with its settings, as `added_tokens_decoder` and the maps of special tokens describe it.
#[derive(Deserialize)]
pub(super) struct Described {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

/// The contents of the files beside a vocabulary.
pub(super) struct Beside {
    /// `tokenizer_config.json`, without `added_tokens_decoder`.
    pub(super) settings: IndexMap<String, Member>,
    pub(super) tokens: Tokens,
    /// `model_type` of `config.json`.
    pub(super) model_type: Option<String>,
    /// `transformers_version` of `config.json`.
    pub(super) transformers_version: Option<String>,
    /// Whether there is a `config.json`.
    pub(super) has_config: bool,
    /// `tokenizer_class` of `config.json`.
    class_of_model: Option<String>,
}

/// The file that has the added tokens.
pub(super) enum Tokens {
    /// `added_tokens_decoder` in `tokenizer_config.json`. The other files do not count beside it.
    Decoder(BTreeMap<u32, AddedToken>),
    /// `special_tokens_map.json` and `added_tokens.json`.
    Older { special: IndexMap<String, Member>, added: BTreeMap<String, u32> },
}

const SETTINGS: &str = "tokenizer_config.json";
const ADDED: &str = "added_tokens.json";

impl Tokens {
    /// The name of the file that gives tokens their ids.
    pub(super) fn file(&self) -> &'static str {
        match self {
            Tokens::Decoder(_) => SETTINGS,
            Tokens::Older { .. } => ADDED,
        }
    }
}

impl Beside {
    /// Reads the files in the folder of a vocabulary.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be read. The error names it.
    pub(super) fn read(vocabulary: &Path) -> Result<Self, ModelError> {
        let mut settings: IndexMap<String, Member> = json(vocabulary, SETTINGS)?;
        let model: Map<String, Value> = json(vocabulary, "config.json")?;
        let text = |key: &str| Some(model.get(key)?.as_str()?.to_owned());
        let tokens = match settings.shift_remove("added_tokens_decoder") {
            Some(decoder) => {
                let decoder =
                    BTreeMap::<u32, Described>::deserialize(Value::from(decoder)).map_err(|error| {
                        let source = serde_json::Error::custom(format!("added_tokens_decoder: {error}"));
                        ModelError::Json { path: vocabulary.with_file_name(SETTINGS), source }
                    })?;
                Tokens::Decoder(decoder.into_iter().map(|(id, token)| (id, token.into())).collect())
            }
            None => Tokens::Older {
                special: json(vocabulary, "special_tokens_map.json")?,
                added: json(vocabulary, ADDED)?,
            },
        };
        Ok(Beside {
            settings,
            tokens,
            model_type: text("model_type"),
            transformers_version: text("transformers_version"),
            has_config: vocabulary.with_file_name("config.json").exists(),
            class_of_model: text("tokenizer_class"),
        })
    }

    /// Returns a flag of `tokenizer_config.json`, such as `add_bos_token`. `None` if it does not say.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.settings.get(key)?.plain()?.as_bool()
    }

    /// Returns the text of the token that `tokenizer_config.json` names under a key, such as `bos_token`.
    pub(super) fn token(&self, key: &str) -> Option<&str> {
        match self.settings.get(key)? {
            Member::Object(token) => token.get("content")?.as_str(),
            Member::Other(token) => token.as_str(),
        }
    }

    /// Returns the class of the tokenizer that the files name.
    pub(super) fn class(&self) -> Option<&str> {
        let own = self.settings.get("tokenizer_class").and_then(Member::plain).and_then(Value::as_str);
        own.or(self.class_of_model.as_deref())
    }

    /// Returns the class of the tokenizer's own code that `auto_map` names, as `module.Class`. An older `auto_map` is a list.
    pub(super) fn own_code(&self) -> Option<&str> {
        let classes = match self.settings.get("auto_map")? {
            Member::Object(map) => map.get("AutoTokenizer")?,
            Member::Other(list) => list,
        };
        // The slow class and the fast one, which counts if there are both.
        let of_list = || classes.as_array()?.iter().rev().find_map(Value::as_str);
        classes.as_str().or_else(of_list)
    }
}

/// Reads a file of JSON beside another. One that does not exist is empty.
fn json<T: DeserializeOwned + Default>(beside: &Path, name: &str) -> Result<T, ModelError> {
    let path = beside.with_file_name(name);
    if !path.exists() {
        return Ok(T::default());
    }
    serde_json::from_str(&read_text(&path)?).map_err(|source| ModelError::Json { path, source })
}

impl From<Described> for AddedToken {
    fn from(described: Described) -> Self {
        let Described { content, single_word, lstrip, rstrip, normalized, special } = described;
        let normalized = normalized.unwrap_or(!special);
        AddedToken { content, single_word, lstrip, rstrip, normalized, special }
    }
}
