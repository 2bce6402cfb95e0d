//! The texts of a `.json` file: one value or several, each an object, a text or an array of them.

use std::{fmt, io::Read, path::Path};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    PromptProblem,
    bounded::{Bounded, MOST},
    field::{Field, Missing},
    input::Input,
};

/// The longest `.json` file that is read, in bytes. It is read at once.
const LONGEST: u64 = 1 << 28;

/// The texts of a `.json` file.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// All texts, one after another: a text of one byte would take fifty by itself.
    texts: String,
    /// The length of each, in bytes.
    lengths: Vec<u32>,
    /// The problem with the value after them.
    problem: Option<PromptProblem>,
    /// The texts that were read, and their bytes.
    value: usize,
    at: usize,
}

impl Values {
    pub(super) fn open(path: &Path, field: &Field) -> Result<Self, PromptProblem> {
        let mut values = Values::default();
        each(path, &mut |value| {
            if values.problem.is_none() {
                values.push(&value, field);
            }
            Ok(())
        })?;
        Ok(values)
    }

    fn push(&mut self, value: &Value, field: &Field) {
        match field.text_of(value) {
            Ok(text) => {
                self.texts.push_str(&text);
                // No text is longer than the file.
                self.lengths.push(text.len() as u32);
            }
            Err(Missing { found }) => {
                let place = format!("value {}", self.lengths.len() + 1);
                self.problem = Some(PromptProblem::NoField { place, field: field.name().to_owned(), found });
            }
        }
    }

    /// Returns the next text, of at most `most` bytes.
    pub(super) fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        let Some(&length) = self.lengths.get(self.value) else {
            return self.problem.take().map_or(Ok(None), Err);
        };
        let text = &self.texts[self.at..self.at + length as usize];
        self.value += 1;
        self.at += text.len();
        if text.len() > most {
            return Err(PromptProblem::ValueTooLong { value: self.value, most });
        }
        Ok(Some(text.to_owned()))
    }
}

/// Gives `take` the values of a file, which are written one after another or are the items of arrays. An array of nothing but numbers
/// is one value.
pub(super) fn each(
    path: &Path,
    take: &mut dyn FnMut(Value) -> Result<(), PromptProblem>,
) -> Result<(), PromptProblem> {
    let mut text = Vec::new();
    Input::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(PromptProblem::FileTooLong { most: LONGEST });
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut problem = None;
    while json.end().is_err() {
        let items = Items { take: &mut *take, problem: &mut problem };
        if let Err(source) = items.deserialize(&mut json) {
            return Err(problem.unwrap_or_else(|| PromptProblem::json(source.line(), &source)));
        }
    }
    Ok(())
}

/// One value of a file, or the items of an array.
struct Items<'a> {
    take: &'a mut dyn FnMut(Value) -> Result<(), PromptProblem>,
    /// The problem with which `take` ended the reading.
    problem: &'a mut Option<PromptProblem>,
}

impl Items<'_> {
    fn give<E: Error>(&mut self, value: Value) -> Result<(), E> {
        (self.take)(value).map_err(|problem| {
            *self.problem = Some(problem);
            E::custom("refused")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.give(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.give(value.into())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.give(value.into())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.give(value.into())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.give(value.into())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.give(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, entries: A) -> Result<(), A::Error> {
        let object = Bounded(&mut { MOST }).visit_map(entries)?;
        self.give(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let (mut numbers, mut is_mixed, mut left) = (Vec::new(), false, MOST);
        while let Some(item) = items.next_element_seed(Bounded(&mut left))? {
            if item.is_number() && !is_mixed {
                numbers.push(item);
                continue;
            }
            (is_mixed, left) = (true, MOST);
            for item in std::mem::take(&mut numbers).into_iter().chain([item]) {
                self.give(item)?;
            }
        }
        if numbers.is_empty() { Ok(()) } else { self.give(Value::Array(numbers)) }
    }
}
