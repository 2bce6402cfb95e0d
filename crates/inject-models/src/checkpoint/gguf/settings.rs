//! The metadata of a GGUF file, read key by key so that nothing about the computation is overlooked.

use std::{collections::BTreeMap, path::Path};

use super::{cursor, head::Head, value::Value};
use crate::error::{ConfigProblem, ModelError};

/// The keys of an architecture that have not been taken yet.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    architecture: &'a str,
    /// Keys without the name of the architecture.
    left: BTreeMap<&'a str, &'a Value>,
}

/// Keys of any architecture that do not influence the computation of hidden states.
const WITHOUT_INFLUENCE: &[&str] = &[
    // The order of the file's tensors, and settings of a training that is over.
    "tensor_data_layout",
    "rope.scaling.finetuned",
    // The rows of the embedding count.
    "vocab_size",
    // The uses that are made of the states: one vector for a text, and labels.
    "pooling_type",
    "classifier.output_labels",
    // The length of an image.
    "mm.tokens_per_image",
    // Read if there are factors; without them nothing depends on it.
    "rope.scaling.original_context_length",
];

/// The beginning of the keys of a part that sees images.
const OF_IMAGES: &str = "vision.";

const ABOVE_0: &str = "a whole number above 0";

impl<'a> Settings<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], head: &'a Head, architecture: &'a str) -> Self {
        let of_architecture =
            |key: &'a str| key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'));
        let left =
            head.metadata.iter().filter_map(|(key, value)| Some((of_architecture(key)?, value))).collect();
        Settings { path, bytes, architecture, left }
    }

    /// Takes a whole number.
    pub(super) fn optional_size(&mut self, key: &str) -> Result<Option<u64>, ModelError> {
        self.take(key, "a whole number, the same for every layer", Value::whole)
    }

    /// Takes a whole number that is not 0.
    pub(super) fn optional_size_above_0(&mut self, key: &str) -> Result<Option<u64>, ModelError> {
        match self.optional_size(key)? {
            Some(0) => Err(self.bad(key, "0", ABOVE_0)),
            found => Ok(found),
        }
    }

    /// Takes a whole number that must be there and is not 0.
    pub(super) fn size(&mut self, key: &str) -> Result<u64, ModelError> {
        self.optional_size_above_0(key)?.ok_or_else(|| self.missing(key, ABOVE_0))
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Result<Option<f64>, ModelError> {
        self.take(key, "a finite number, the same for every layer", Value::number)
    }

    /// Takes what a value means. A list with one value for each layer counts if all are the same.
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        of: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.left.remove(key) else { return Ok(None) };
        let found = self.of_every_layer(value).and_then(|value| of(&value));
        found.map(Some).ok_or_else(|| self.bad(key, &self.shown(value), expected))
    }

    /// The value itself, or the one that all items of a list have.
    fn of_every_layer(&self, value: &Value) -> Option<Value> {
        let Value::List(list) = value else { return Some(value.clone()) };
        let mut items = list.values(self.bytes);
        let first = items.next()?;
        items.all(|item| item == first).then_some(first)
    }

    /// Puts the value of `other`, another name of `key`, in its place. In a file with both, they mean the same.
    pub(super) fn unify(&mut self, key: &'static str, other: &str) -> Result<(), ModelError> {
        let Some(&value) = self.left.get(key) else {
            if let Some(value) = self.left.remove(other) {
                self.left.insert(key, value);
            }
            return Ok(());
        };
        let Some(found) = self.left.remove(other).filter(|found| !self.same(found, value)) else {
            return Ok(());
        };
        let problem = ConfigProblem::Contradiction {
            key: self.full(key),
            found: self.shown(value),
            other: self.full(other),
            other_found: self.shown(found),
        };
        Err(ModelError::Config { path: self.path.to_owned(), problems: vec![problem] })
    }

    fn same(&self, first: &Value, second: &Value) -> bool {
        match [first, second].map(|value| self.of_every_layer(value)) {
            [Some(first), Some(second)] => first.means(&second),
            _ => false,
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<f64, ModelError> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key, "a number"))
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<&'a str>, ModelError> {
        match self.left.remove(key) {
            None => Ok(None),
            Some(Value::Text(place)) => Ok(Some(cursor::text(self.bytes, place))),
            Some(other) => Err(self.bad(key, &self.shown(other), "a text")),
        }
    }

    pub(super) fn optional_flag(&mut self, key: &str) -> Result<Option<bool>, ModelError> {
        match self.left.remove(key) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.bad(key, &self.shown(other), "true or false")),
        }
    }

    /// Takes a list of flags, one for each layer.
    pub(super) fn optional_flags(&mut self, key: &str) -> Result<Option<Vec<bool>>, ModelError> {
        let expected = "a list of flags";
        match self.left.get(key).copied() {
            Some(value @ Value::List(list)) => {
                self.left.remove(key);
                let flag = |item| if let Value::Flag(flag) = item { Some(flag) } else { None };
                let flags: Option<Vec<bool>> = list.values(self.bytes).map(flag).collect();
                flags.map(Some).ok_or_else(|| self.bad(key, &self.shown(value), expected))
            }
            _ => Ok(None),
        }
    }

    /// Takes a key that has only one supported value.
    pub(super) fn only(&mut self, key: &str, supported: &Value, expected: &str) -> Result<(), ModelError> {
        match self.left.remove(key) {
            Some(found) if !self.same(found, supported) => Err(self.bad(key, &self.shown(found), expected)),
            _ => Ok(()),
        }
    }

    /// Ends the reading: the keys that are left must be without influence. All others are named at once.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        let without_influence = |key: &str| WITHOUT_INFLUENCE.contains(&key) || key.starts_with(OF_IMAGES);
        let unknown = self.left.iter().filter(|(key, _)| !without_influence(key));
        let expected = format!("only keys known for the architecture `{}`", self.architecture);
        let problems: Vec<ConfigProblem> = unknown
            .map(|(key, value)| ConfigProblem::Value {
                key: self.full(key),
                found: self.shown(value),
                expected: expected.clone(),
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ModelError::Config { path: self.path.to_owned(), problems })
    }

    pub(super) fn missing(&self, key: &str, expected: &str) -> ModelError {
        ModelError::missing_key(self.path, &self.full(key), expected)
    }

    pub(super) fn bad(&self, key: &str, found: &str, expected: &str) -> ModelError {
        ModelError::bad_key(self.path, &self.full(key), found, expected)
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn shown(&self, value: &Value) -> String {
        shown(self.bytes, value)
    }
}

/// A value as errors show it.
pub(super) fn shown(bytes: &[u8], value: &Value) -> String {
    const LIMIT: usize = 60;
    match value {
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(place) => {
            let text = cursor::text(bytes, place);
            match text.char_indices().nth(LIMIT) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}...", &text[..end]),
            }
        }
        Value::List(list) => {
            let first: Vec<String> = list.values(bytes).take(8).map(|value| shown(bytes, &value)).collect();
            let more = if list.len > first.len() { ", ..." } else { "" };
            format!("[{}{more}]", first.join(", "))
        }
    }
}
