//! Reading config.json so that nothing in it is overlooked.
//!
//! A family takes the keys it knows one by one, each into a variable of the key's own name. A key that is read and not
//! used is then an unused variable, which the lints refuse. The keys left at the end are of three kinds:
//!
//! - Keys that transformers reads and that do not influence hidden states are on a list, the family's or the common one.
//! - Keys that announce a computation that no family has are refused: see [`super::announced`].
//! - Other keys are read neither here nor by transformers, so they cannot change its states. They are noted.
//!
//! `tests/fixtures/known_keys.json` lists the keys that transformers reads, and a test holds the lists against it.

mod findings;
mod problems;

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(crate) use self::findings::Findings;
use super::{
    Family,
    announced::{Announced, announced},
    recognise,
    without_influence::WITHOUT_INFLUENCE,
};
use crate::note::Evidence;

/// The keys of a JSON object that have not been taken yet.
///
/// No reading stops at a fault. The fault is added to the problems of the file, and a stand-in takes the place of the value, so
/// that one reading finds all of them. The description that comes of it is used only if there are none.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Path of this object within the file, with a dot after each step; empty at the top.
    prefix: String,
    left: Map<String, Value>,
    findings: Rc<Findings>,
}

impl Keys {
    /// The largest size, far above the sizes of published models.
    pub(super) const LARGEST: usize = 1 << 24;

    pub(crate) fn new(left: Map<String, Value>) -> Self {
        Keys { prefix: String::new(), left, findings: Rc::default() }
    }

    /// Returns a handle to the facts that the reading collects.
    pub(crate) fn findings(&self) -> Rc<Findings> {
        Rc::clone(&self.findings)
    }

    /// Takes a key that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.left.remove(key).filter(|value| !value.is_null())?;
        match T::deserialize(&value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.bad(key, &value, &expectation(&error));
                None
            }
        }
    }

    /// Takes a key that has a documented default.
    pub(crate) fn or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Takes a key that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let found = self.optional(key);
        if found.is_none() {
            // The type's error for null names the expected values.
            let expected = T::deserialize(Value::Null).err().map(|error| expectation(&error));
            self.missing(key, &expected.unwrap_or_default());
        }
        found
    }

    /// Takes a size: a whole number from 1 to [`Keys::LARGEST`], so that products of sizes cannot overflow.
    pub(crate) fn size(&mut self, key: &str) -> usize {
        let found = self.required::<usize>(key);
        found.and_then(|found| self.checked_size(key, found)).unwrap_or(1)
    }

    /// As [`Keys::size`], for a key that may be missing or null.
    pub(crate) fn optional_size(&mut self, key: &str) -> Option<usize> {
        self.optional::<usize>(key).and_then(|found| self.checked_size(key, found))
    }

    fn checked_size(&self, key: &str, found: usize) -> Option<usize> {
        if (1..=Keys::LARGEST).contains(&found) {
            return Some(found);
        }
        self.bad(key, &found, &format!("a size from 1 to {}", Keys::LARGEST));
        None
    }

    /// Takes a number of positions that no tensor has, such as the length of a window. It may be missing or null.
    pub(crate) fn optional_length(&mut self, key: &str) -> Option<usize> {
        // Lengths become floating-point numbers, and the larger ones have none of their own.
        const LIMIT: u64 = 1 << 53;
        let found = self.optional::<usize>(key)?;
        if (1..=LIMIT).contains(&(found as u64)) {
            return Some(found);
        }
        self.bad(key, &found, &format!("a length from 1 to {LIMIT}"));
        None
    }

    /// Takes the number of layers, whose bound is lower because a list of that length is made.
    pub(crate) fn n_layers(&mut self, key: &str) -> usize {
        const LIMIT: usize = 4096;
        let found = self.size(key);
        if found <= LIMIT {
            return found;
        }
        self.bad(key, &found, &format!("at most {LIMIT} layers"));
        1
    }

    /// Takes a key that influences the computation and has only one supported value.
    pub(crate) fn only(&mut self, key: &str, supported: impl Into<Value>) {
        let supported = supported.into();
        if let Some(found) = self.left.remove(key).filter(|found| !found.is_null() && *found != supported) {
            self.bad(key, &found, &supported.to_string());
        }
    }

    /// Sets a missing key to its default in this family. A key that is null stays null.
    pub(crate) fn default_to(&mut self, key: &str, value: impl Into<Value>) {
        self.left.entry(key).or_insert_with(|| value.into());
    }

    /// Moves the value of another spelling to the name that the family uses. Different values of the two are a problem.
    pub(crate) fn alias(&mut self, spelling: &str, name: &str) {
        let Some(value) = self.left.remove(spelling).filter(|value| !value.is_null()) else { return };
        match self.left.get(name).filter(|other| !other.is_null()) {
            None => {
                self.left.insert(name.to_owned(), value);
            }
            Some(other) if same(&value, other) => {}
            Some(other) => self.contradiction(spelling, &value, &self.full(name), other),
        }
    }

    /// Sets a key to the value that counts in its place. If the file has another, the key is noted.
    pub(crate) fn overrule(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let found = self.left.insert(key.to_owned(), value.clone());
        if found.is_some_and(|found| !found.is_null() && !same(&found, &value)) {
            self.note_unread(key);
        }
    }

    /// Takes an object, to be read by its own [`Keys`]. An empty one counts as absent.
    pub(crate) fn nested(&mut self, key: &str) -> Option<Keys> {
        let left = self.optional::<Map<String, Value>>(key).filter(|left| !left.is_empty())?;
        Some(self.below(key, left))
    }

    /// An object without keys in place of a missing one, so that everything in it takes its default.
    pub(crate) fn empty(&self, key: &str) -> Keys {
        self.below(key, Map::new())
    }

    fn below(&self, key: &str, left: Map<String, Value>) -> Keys {
        Keys { prefix: format!("{}.", self.full(key)), left, findings: self.findings() }
    }

    /// Returns the `model_type` that the other keys leave no doubt about, and the evidence.
    pub(super) fn guess_model_type(&self) -> Option<(&'static str, Evidence)> {
        recognise::guess(&self.left)
    }

    /// Returns the first class that the file names, if transformers has no such class of a family.
    pub(super) fn class_without_family(&self) -> Option<&str> {
        recognise::classes(&self.left).next()
    }

    /// Takes `auto_map`, which names code beside the checkpoint. Code with the name of transformers' own class is left alone:
    /// transformers itself prefers its own. A class of a model that transformers does not have is a problem.
    pub(super) fn own_code(&mut self, family: Option<Family>) {
        let classes = self.optional::<Map<String, Value>>("auto_map").unwrap_or_default();
        for (purpose, class) in classes.iter().filter(|(purpose, _)| purpose.starts_with("AutoModel")) {
            let name = class.as_str().and_then(|class| class.rsplit('.').next()).unwrap_or_default();
            if !recognise::is_class_of(name, family) {
                let owner = family.map(|family| format!(" `{family}`")).unwrap_or_default();
                let expected =
                    format!("a class of transformers' own{owner}: other code computes other states");
                self.bad(&format!("auto_map.{purpose}"), class, &expected);
            }
        }
    }

    /// Returns the same keys with findings of their own, to try what a family reads from them.
    pub(super) fn trial(&self) -> Self {
        Keys { prefix: self.prefix.clone(), left: self.left.clone(), findings: Rc::default() }
    }

    /// Takes an object out of another one, which stays.
    pub(super) fn take_within(&mut self, outer: &str, key: &str) -> Option<Map<String, Value>> {
        let mut within = self.below(outer, self.object(outer)?.clone());
        let found = within.optional(key);
        self.left.insert(outer.to_owned(), within.value());
        found
    }

    /// Returns the object under a key, which is not taken.
    pub(super) fn object(&self, key: &str) -> Option<&Map<String, Value>> {
        self.left.get(key)?.as_object()
    }

    /// Checks that what is left here and in another object has the same values where both have it.
    pub(crate) fn agree(&self, other: &Keys) {
        for (key, value) in self.left.iter().filter(|(_, value)| !value.is_null()) {
            let found = other.left.get(key).filter(|found| !found.is_null() && !same(value, found));
            if let Some(found) = found {
                self.contradiction(key, value, &other.full(key), found);
            }
        }
    }

    /// Returns the keys that are left, as a JSON value.
    pub(crate) fn value(&self) -> Value {
        Value::Object(self.left.clone())
    }

    /// Takes the id of the BOS token, or none if the config names none. Files have ids that are not those of a token, such as -1.
    pub(crate) fn bos_token_id(&mut self) -> Option<i64> {
        self.optional("bos_token_id")
    }

    /// Whether the key is present, even as null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Ends the reading. The keys that are left must be without influence.
    pub(crate) fn finish(self, family: &str, without_influence: &[&str]) {
        let known = |key: &str| WITHOUT_INFLUENCE.contains(&key) || without_influence.contains(&key);
        // GPT-Neo's class does not ask for it.
        if family != "gpt_neo" && self.left.get("tie_last_hidden_states") == Some(&Value::Bool(false)) {
            self.findings.last_state_unnormed.set(true);
        }
        self.refuse_announced();
        for (key, value) in &self.left {
            if announced(key, value) == Announced::Unknown && !known(key) && !value.is_null() {
                self.note_unread(key);
            }
        }
    }

    /// Refuses the keys that are left and announce a computation that no family has.
    pub(super) fn refuse_announced(&self) {
        for (key, value) in &self.left {
            if let Announced::Refused(expected) = announced(key, value) {
                self.bad(key, value, &expected);
            }
        }
    }

    fn note_unread(&self, key: &str) {
        self.findings.unread.borrow_mut().push(self.full(key));
    }

    /// Returns the full name of a key of this object.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// Whether two values are equal. Numbers are compared by value: 4 is 4.0.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

/// The type that serde expected, from its message `invalid type: ..., expected a string`.
fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ").map_or(text.as_str(), |(_, expected)| expected) {
        "usize" | "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}
