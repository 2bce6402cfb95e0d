//! The metadata of a GGUF file, read key by key so that nothing about the computation is overlooked.

use std::{collections::BTreeMap, path::Path};

use super::{cursor, head::Head, value::Value};
use crate::error::ModelError;

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
    // Read if there are factors; without them nothing depends on it.
    "rope.scaling.original_context_length",
];

impl<'a> Settings<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], head: &'a Head, architecture: &'a str) -> Self {
        let of_architecture =
            |key: &'a str| key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'));
        let left =
            head.metadata.iter().filter_map(|(key, value)| Some((of_architecture(key)?, value))).collect();
        Settings { path, bytes, architecture, left }
    }

    /// Takes a whole number. A list of one number for each layer counts if all are the same.
    pub(super) fn optional_size(&mut self, key: &str) -> Result<Option<u64>, ModelError> {
        let expected = "a whole number, the same for every layer";
        let Some(value) = self.left.remove(key) else { return Ok(None) };
        let of = |value: &Value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let found = match value {
            Value::List(list) => {
                let mut numbers = list.values(self.bytes).map(|value| of(&value));
                let first = numbers.next().flatten();
                first.filter(|_| numbers.all(|number| number == first))
            }
            single => of(single),
        };
        found.map(Some).ok_or_else(|| self.bad(key, &self.shown(value), expected))
    }

    /// Takes a whole number that must be there and is not 0.
    pub(super) fn size(&mut self, key: &str) -> Result<u64, ModelError> {
        const EXPECTED: &str = "a whole number above 0";
        match self.optional_size(key)? {
            Some(0) => Err(self.bad(key, "0", EXPECTED)),
            Some(size) => Ok(size),
            None => Err(self.missing(key, EXPECTED)),
        }
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.left.remove(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(*number)),
            Some(other) => Err(self.bad(key, &self.shown(other), "a floating-point number")),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<f64, ModelError> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key, "a floating-point number"))
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
            None => Ok(()),
            Some(found) if found == supported => Ok(()),
            Some(found) => Err(self.bad(key, &self.shown(found), expected)),
        }
    }

    /// Ends the reading: the keys that are left must be without influence.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        match self.left.iter().find(|(key, _)| !WITHOUT_INFLUENCE.contains(key)) {
            None => Ok(()),
            Some((key, value)) => {
                let expected = format!("only keys known for the architecture `{}`", self.architecture);
                Err(self.bad(key, &self.shown(value), &expected))
            }
        }
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
