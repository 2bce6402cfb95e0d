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

mod problems;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Family,
    announced::{Announced, announced},
    recognise,
    without_influence::WITHOUT_INFLUENCE,
};
use crate::{error::ModelError, note::Evidence};

/// The keys of a JSON object that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Path of this object within the file, with a dot after each step; empty at the top.
    prefix: String,
    left: Map<String, Value>,
    shared: Rc<Shared>,
}

/// The state that all objects of one file share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Keys that are known to be faulty. They count as absent, and a required one as a stand-in, so that the other faults of
    /// the file are found too.
    excused: BTreeSet<String>,
    /// Keys that neither this crate nor transformers reads.
    unread: RefCell<Vec<String>>,
    /// Whether a faulty value has been replaced. What a family finds wrong after that may be wrong with the stand-in.
    stood_in: Cell<bool>,
    doubtful: Cell<bool>,
}

impl Keys {
    pub(crate) fn new(path: &Path, left: Map<String, Value>, excused: BTreeSet<String>) -> Self {
        let shared = Shared {
            path: path.to_owned(),
            excused,
            unread: RefCell::default(),
            stood_in: Cell::new(false),
            doubtful: Cell::new(false),
        };
        Keys { prefix: String::new(), left, shared: Rc::new(shared) }
    }

    /// Takes a key that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, ModelError> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) if self.is_excused(key) => Ok(self.stand_in(key, None)),
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
    pub(crate) fn required<T: DeserializeOwned + Default>(&mut self, key: &str) -> Result<T, ModelError> {
        if self.is_excused(key) {
            return Ok(self.stand_in(key, T::default()));
        }
        self.optional(key)?.ok_or_else(|| {
            // The type's error for null names the expected values.
            let expected = T::deserialize(Value::Null).err().map(|error| expectation(&error));
            self.missing(key, &expected.unwrap_or_default())
        })
    }

    /// Takes a size: a whole number from 1 to a bound far above the sizes of published models, so that products of sizes
    /// cannot overflow.
    pub(crate) fn size(&mut self, key: &str) -> Result<usize, ModelError> {
        if self.is_excused(key) {
            return Ok(self.stand_in(key, 1));
        }
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
            Some(found) if found == supported || self.is_excused(key) => Ok(()),
            Some(found) => Err(self.bad(key, &found, &supported.to_string())),
        }
    }

    /// Sets a missing key to its default in this family. A key that is null stays null.
    pub(crate) fn default_to(&mut self, key: &str, value: impl Into<Value>) {
        self.left.entry(key).or_insert_with(|| value.into());
    }

    /// Moves the value of another spelling to the name that the family uses.
    ///
    /// # Errors
    ///
    /// Fails if both are there with different values.
    pub(crate) fn alias(&mut self, spelling: &str, name: &str) -> Result<(), ModelError> {
        match (self.left.remove(spelling), self.left.get(name)) {
            (None | Some(Value::Null), _) => Ok(()),
            (Some(value), None | Some(Value::Null)) => {
                self.left.insert(name.to_owned(), value);
                Ok(())
            }
            (Some(value), Some(other)) if same(&value, other) || self.is_excused(spelling) => Ok(()),
            (Some(value), Some(other)) => {
                Err(self.contradiction(spelling, &value, &self.full(name), &other.clone()))
            }
        }
    }

    /// Takes an object, to be read by its own [`Keys`]. An empty one counts as absent.
    pub(crate) fn nested(&mut self, key: &str) -> Result<Option<Keys>, ModelError> {
        let left = self.optional::<Map<String, Value>>(key)?.filter(|left| !left.is_empty());
        Ok(left.map(|left| self.below(key, left)))
    }

    /// An object without keys in place of a missing one, so that everything in it takes its default.
    pub(crate) fn empty(&self, key: &str) -> Keys {
        self.below(key, Map::new())
    }

    fn below(&self, key: &str, left: Map<String, Value>) -> Keys {
        Keys { prefix: self.full(key), left, shared: Rc::clone(&self.shared) }.with_dot()
    }

    fn with_dot(mut self) -> Self {
        self.prefix.push('.');
        self
    }

    /// Returns the `model_type` that the other keys leave no doubt about, and the evidence.
    pub(super) fn guess_model_type(&self) -> Option<(&'static str, Evidence)> {
        recognise::guess(&self.left)
    }

    /// Takes `auto_map`, which names code beside the checkpoint. Code with the name of transformers' own class is left alone:
    /// transformers itself prefers its own.
    ///
    /// # Errors
    ///
    /// Fails for a class of a model that transformers does not have.
    pub(super) fn own_code(&mut self, family: Family) -> Result<(), ModelError> {
        let classes = self.optional::<Map<String, Value>>("auto_map")?.unwrap_or_default();
        for (purpose, class) in classes.iter().filter(|(purpose, _)| purpose.starts_with("AutoModel")) {
            let name = class.as_str().and_then(|class| class.rsplit('.').next()).unwrap_or_default();
            if !recognise::is_class_of(name, family) {
                let expected =
                    format!("a class of transformers' own `{family}`: other code computes other states");
                let key = format!("auto_map.{purpose}");
                if !self.is_excused(&key) {
                    return Err(self.bad(&key, class, &expected));
                }
            }
        }
        Ok(())
    }

    /// Checks that what is left here and in another object has the same values where both have it.
    pub(crate) fn agree(&self, other: &Keys) -> Result<(), ModelError> {
        let differs = |key: &str, value: &Value| {
            let other = other.left.get(key).filter(|other| !other.is_null() && !value.is_null());
            other.filter(|other| !same(value, other)).cloned()
        };
        let difference = self.left.iter().find_map(|(key, value)| Some((key, value, differs(key, value)?)));
        match difference.filter(|(key, ..)| !self.is_excused(key)) {
            None => Ok(()),
            Some((key, value, found)) => Err(self.contradiction(key, value, &other.full(key), &found)),
        }
    }

    /// Returns the keys that are left, as a JSON value.
    pub(crate) fn value(&self) -> Value {
        Value::Object(self.left.clone())
    }

    /// Takes the id of the BOS token, or none if the config names none.
    pub(crate) fn bos_token_id(&mut self) -> Result<Option<u32>, ModelError> {
        self.optional("bos_token_id")
    }

    /// Whether the key is present, even as null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Ends the reading. The keys that are left must be without influence.
    pub(crate) fn finish(self, family: &str, without_influence: &[&str]) -> Result<(), ModelError> {
        let known = |key: &str| WITHOUT_INFLUENCE.contains(&key) || without_influence.contains(&key);
        for (key, value) in self.left.iter().filter(|(key, value)| !value.is_null() && !self.is_excused(key))
        {
            match announced(key, value, family) {
                Announced::Refused(expected) => return Err(self.bad(key, value, &expected)),
                Announced::Nothing => {}
                Announced::Unknown if known(key) => {}
                Announced::Unknown => self.shared.unread.borrow_mut().push(self.full(key)),
            }
        }
        Ok(())
    }

    /// Returns a handle to the facts that the reading collects.
    pub(crate) fn findings(&self) -> Findings {
        Findings(Rc::clone(&self.shared))
    }

    fn stand_in<T>(&mut self, key: &str, value: T) -> T {
        self.left.remove(key);
        self.shared.stood_in.set(true);
        value
    }

    /// Whether a fault is known in an object.
    pub(super) fn is_excused_within(&self, key: &str) -> bool {
        let prefix = format!("{}.", self.full(key));
        self.shared.excused.iter().any(|excused| excused.starts_with(&prefix))
    }

    fn is_excused(&self, key: &str) -> bool {
        !self.shared.excused.is_empty() && self.shared.excused.contains(&self.full(key))
    }

    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// The facts that reading a config yields beside its description.
#[derive(Debug)]
pub(crate) struct Findings(Rc<Shared>);

impl Findings {
    /// Returns the keys that are not read, in order.
    pub(crate) fn unread(&self) -> Vec<String> {
        let mut keys = self.0.unread.take();
        keys.sort();
        keys
    }

    /// Returns whether the error may be due to a stand-in alone.
    pub(crate) fn doubtful(&self) -> bool {
        self.0.doubtful.get()
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
        "usize" | "u32" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}
