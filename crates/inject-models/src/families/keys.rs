//! Reading config.json so that nothing in it is overlooked.
//!
//! A family takes the keys it knows one by one, each into a variable of the key's own name. A key that is read and not
//! used is then an unused variable, which the lints refuse. The keys left at the end must be on the family's list of keys
//! without influence on the computation, or loading fails.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ModelError;

/// Keys of every family that do not influence the computation of hidden states: bookkeeping, training-time settings,
/// generation defaults, and dropout, which is off outside training.
const WITHOUT_INFLUENCE: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "auto_map",
    "bad_words_ids",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_decoder",
    "label2id",
    "max_length",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

/// The keys of a JSON object that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    /// Path of this object within the file, with a dot after each step; empty at the top.
    prefix: String,
    left: Map<String, Value>,
}

impl Keys {
    pub(crate) fn new(path: &Path, left: Map<String, Value>) -> Self {
        Keys { path: path.to_owned(), prefix: String::new(), left }
    }

    /// Takes a key that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, ModelError> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match T::deserialize(&value) {
                Ok(parsed) => Ok(Some(parsed)),
                Err(error) => Err(self.bad(key, &value, &expectation(&error))),
            },
        }
    }

    /// Takes a key that has a documented default.
    pub(crate) fn or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T, ModelError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// Takes a key that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, ModelError> {
        self.optional(key)?.ok_or_else(|| {
            // The type's complaint about null names what it expects.
            let expected = T::deserialize(Value::Null).err().map(|error| expectation(&error));
            self.missing(key, &expected.unwrap_or_default())
        })
    }

    /// Takes a size: a whole number from 1 to a bound far above the sizes of published models, so that products of sizes
    /// cannot overflow.
    pub(crate) fn size(&mut self, key: &str) -> Result<usize, ModelError> {
        let found = self.required::<usize>(key)?;
        self.checked_size(key, found)
    }

    /// As [`Keys::size`], for a key that may be missing or null.
    pub(crate) fn optional_size(&mut self, key: &str) -> Result<Option<usize>, ModelError> {
        self.optional::<usize>(key)?.map(|found| self.checked_size(key, found)).transpose()
    }

    fn checked_size(&self, key: &str, found: usize) -> Result<usize, ModelError> {
        const LIMIT: usize = 1 << 24;
        if (1..=LIMIT).contains(&found) {
            Ok(found)
        } else {
            Err(self.bad(key, &found, &format!("a size from 1 to {LIMIT}")))
        }
    }

    /// Takes the number of layers, whose bound is lower because a list of that length is made.
    pub(crate) fn n_layers(&mut self, key: &str) -> Result<usize, ModelError> {
        const LIMIT: usize = 4096;
        let found = self.size(key)?;
        if found <= LIMIT {
            Ok(found)
        } else {
            Err(self.bad(key, &found, &format!("at most {LIMIT} layers")))
        }
    }

    /// Takes a key that influences the computation and has only one supported value.
    pub(crate) fn only(&mut self, key: &str, supported: impl Into<Value>) -> Result<(), ModelError> {
        let supported = supported.into();
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(()),
            Some(found) if found == supported => Ok(()),
            Some(found) => Err(self.bad(key, &found, &supported.to_string())),
        }
    }

    /// Sets a missing key to its default in this family. A key that is null stays null.
    pub(crate) fn default_to(&mut self, key: &str, value: impl Into<Value>) {
        self.left.entry(key).or_insert_with(|| value.into());
    }

    /// Takes an object, to be read by its own [`Keys`].
    pub(crate) fn nested(&mut self, key: &str) -> Result<Option<Keys>, ModelError> {
        let left = self.optional::<Map<String, Value>>(key)?;
        Ok(left.map(|left| Keys { path: self.path.clone(), prefix: format!("{}{key}.", self.prefix), left }))
    }

    /// An object without keys in place of a missing one, so that everything in it takes its default.
    pub(crate) fn empty(&self, key: &str) -> Keys {
        Keys { path: self.path.clone(), prefix: format!("{}{key}.", self.prefix), left: Map::new() }
    }

    /// Takes the BOS token.
    pub(crate) fn bos_token_id(&mut self) -> Result<Option<u32>, ModelError> {
        self.optional("bos_token_id")
    }

    /// Whether the key is present, even as null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Ends the reading: the keys that are left must be without influence, or null.
    pub(crate) fn finish(self, family: &str, without_influence: &[&str]) -> Result<(), ModelError> {
        let known = |key: &str| WITHOUT_INFLUENCE.contains(&key) || without_influence.contains(&key);
        match self.left.iter().find(|(key, value)| !value.is_null() && !known(key)) {
            None => Ok(()),
            Some((key, value)) => Err(ModelError::UnknownKey {
                path: self.path.clone(),
                key: format!("{}{key}", self.prefix),
                found: shortened(value),
                family: family.to_owned(),
            }),
        }
    }

    /// The error for a missing key.
    pub(crate) fn missing(&self, key: &str, expected: &str) -> ModelError {
        ModelError::MissingKey {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            expected: expected.to_owned(),
        }
    }

    /// The error for an unusable value.
    pub(crate) fn bad(&self, key: &str, found: &impl serde::Serialize, expected: &str) -> ModelError {
        ModelError::BadKey {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            found: shortened(found),
            expected: expected.to_owned(),
        }
    }
}

/// The type that serde expected, from its message `invalid type: ..., expected a string`.
fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ").map_or(text.as_str(), |(_, expected)| expected) {
        "usize" | "u32" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}

/// A value as JSON, cut to a length that fits an error message.
fn shortened(value: &impl serde::Serialize) -> String {
    const LIMIT: usize = 120;
    let text = serde_json::to_string(value).unwrap_or_else(|_| "not representable".to_owned());
    match text.char_indices().nth(LIMIT) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
