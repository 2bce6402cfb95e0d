//! The metadata of a GGUF file, read key by key so that nothing about the computation is overlooked.

use std::{cell::RefCell, collections::BTreeMap, path::Path};

use super::{cursor, head::Head, value::Value};
use crate::error::{ConfigProblem, ModelError};

/// The keys of an architecture that have not been taken yet.
///
/// No reading stops at a fault. The fault is added to the problems of the file, and a stand-in takes the place of the value, so
/// that one reading finds all of them. What is made of the values is used only if there are none.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    architecture: &'a str,
    /// Keys without the name of the architecture.
    left: BTreeMap<&'a str, &'a Value>,
    /// In the order in which the keys were read.
    problems: RefCell<Vec<ConfigProblem>>,
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
        Settings { path, bytes, architecture, left, problems: RefCell::default() }
    }

    /// Takes a whole number.
    pub(super) fn optional_size(&mut self, key: &str) -> Option<u64> {
        self.take(key, "a whole number, the same for every layer", Value::whole)
    }

    /// Takes a whole number that is not 0.
    pub(super) fn optional_size_above_0(&mut self, key: &str) -> Option<u64> {
        let found = self.optional_size(key)?;
        if found == 0 {
            self.bad(key, "0", ABOVE_0);
        }
        Some(found.max(1))
    }

    /// Takes a whole number that must be there and is not 0.
    pub(super) fn size(&mut self, key: &str) -> u64 {
        let is_there = self.left.contains_key(key);
        let found = self.optional_size_above_0(key);
        if !is_there {
            self.missing(key, ABOVE_0);
        }
        found.unwrap_or(1)
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Option<f64> {
        self.take(key, "a finite number, the same for every layer", Value::number)
    }

    /// Takes what a value means. A list with one value for each layer counts if all are the same.
    fn take<T>(&mut self, key: &str, expected: &str, of: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.left.remove(key)?;
        let found = self.of_every_layer(value).and_then(|value| of(&value));
        if found.is_none() {
            self.bad(key, &self.shown(value), expected);
        }
        found
    }

    /// The value itself, or the one that all items of a list have.
    fn of_every_layer(&self, value: &Value) -> Option<Value> {
        let Value::List(list) = value else { return Some(value.clone()) };
        let mut items = list.values(self.bytes);
        let first = items.next()?;
        items.all(|item| item == first).then_some(first)
    }

    /// Puts the value of `other`, another name of `key`, in its place. In a file with both, they mean the same.
    pub(super) fn unify(&mut self, key: &'static str, other: &str) {
        let Some(&value) = self.left.get(key) else {
            if let Some(value) = self.left.remove(other) {
                self.left.insert(key, value);
            }
            return;
        };
        if let Some(found) = self.left.remove(other).filter(|found| !self.same(found, value)) {
            self.problems.borrow_mut().push(ConfigProblem::Contradiction {
                key: self.full(key),
                found: self.shown(value),
                other: self.full(other),
                other_found: self.shown(found),
            });
        }
    }

    fn same(&self, first: &Value, second: &Value) -> bool {
        match [first, second].map(|value| self.of_every_layer(value)) {
            [Some(first), Some(second)] => first.means(&second),
            _ => false,
        }
    }

    pub(super) fn number(&mut self, key: &str) -> f64 {
        let is_there = self.left.contains_key(key);
        let found = self.optional_number(key);
        if !is_there {
            self.missing(key, "a number");
        }
        found.unwrap_or(1.0)
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<&'a str> {
        match self.left.remove(key)? {
            Value::Text(place) => Some(cursor::text(self.bytes, place)),
            other => {
                self.bad(key, &self.shown(other), "a text");
                None
            }
        }
    }

    pub(super) fn optional_flag(&mut self, key: &str) -> Option<bool> {
        match self.left.remove(key)? {
            Value::Flag(flag) => Some(*flag),
            other => {
                self.bad(key, &self.shown(other), "true or false");
                None
            }
        }
    }

    /// Takes a list of flags, one for each layer.
    pub(super) fn optional_flags(&mut self, key: &str) -> Option<Vec<bool>> {
        let (value, list) = match self.left.get(key).copied()? {
            value @ Value::List(list) => (value, list),
            _ => return None,
        };
        self.left.remove(key);
        let flag = |item| if let Value::Flag(flag) = item { Some(flag) } else { None };
        let flags: Option<Vec<bool>> = list.values(self.bytes).map(flag).collect();
        if flags.is_none() {
            self.bad(key, &self.shown(value), "a list of flags");
        }
        flags
    }

    /// Takes a key that has only one supported value.
    pub(super) fn only(&mut self, key: &str, supported: &Value, expected: &str) {
        if let Some(found) = self.left.remove(key).filter(|found| !self.same(found, supported)) {
            self.bad(key, &self.shown(found), expected);
        }
    }

    /// Whether one of these keys has a problem.
    pub(super) fn are_faulty(&self, keys: &[&str]) -> bool {
        let problems = self.problems.borrow();
        keys.iter().any(|key| problems.iter().any(|problem| problem.key() == self.full(key)))
    }

    /// Takes a key whose value follows from others. It is not judged if they have problems.
    pub(super) fn agrees(&mut self, key: &str, implied: &Value, expected: &str, others: &[&str]) {
        if self.are_faulty(others) {
            self.left.remove(key);
        } else {
            self.only(key, implied, expected);
        }
    }

    /// Ends the reading: the keys that are left must be without influence. Returns all problems.
    pub(super) fn finish(mut self) -> Vec<ConfigProblem> {
        let without_influence = |key: &str| WITHOUT_INFLUENCE.contains(&key) || key.starts_with(OF_IMAGES);
        let expected = format!("only keys known for the architecture `{}`", self.architecture);
        for (key, value) in std::mem::take(&mut self.left) {
            if !without_influence(key) {
                self.bad(key, &self.shown(value), &expected);
            }
        }
        self.problems.into_inner()
    }

    /// # Errors
    ///
    /// Fails with the problems so far.
    pub(super) fn refuse(self) -> Result<(), ModelError> {
        match self.problems.into_inner() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(ModelError::Config { path: self.path.to_owned(), problems }),
        }
    }

    fn missing(&self, key: &str, expected: &str) {
        let problem = ConfigProblem::Missing { key: self.full(key), expected: expected.to_owned() };
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn bad(&self, key: &str, found: &str, expected: &str) {
        self.bad_key(self.full(key), found, expected);
    }

    /// As [`Settings::bad`], for a key that is not of the architecture.
    pub(super) fn bad_key(&self, key: String, found: &str, expected: &str) {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        self.problems.borrow_mut().push(ConfigProblem::Value { key, found, expected });
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
