//! The texts of a `.json` file: one value or several, each an object, a text or an array of them.

use std::{io::Read, path::Path, vec};

use serde_json::Value;

use super::{
    PromptProblem,
    field::{Field, Missing},
    input::Input,
};

/// The longest `.json` file that is read, in bytes. It is read at once.
const LONGEST: u64 = 1 << 28;

/// The texts of a `.json` file.
#[derive(Debug)]
pub(super) struct Values {
    values: vec::IntoIter<Value>,
    field: Field,
    /// The number of the value read last, from 1.
    value: usize,
}

impl Values {
    pub(super) fn open(path: &Path, field: Field) -> Result<Self, PromptProblem> {
        let items = |value| match value {
            Value::Array(items) => items,
            other => vec![other],
        };
        let values: Vec<Value> = parse(path)?.into_iter().flat_map(items).collect();
        Ok(Values { values: values.into_iter(), field, value: 0 })
    }

    /// Returns the next text, of at most `most` bytes.
    pub(super) fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        let Some(value) = self.values.next() else { return Ok(None) };
        self.value += 1;
        let text = self.field.text_of(&value).map_err(|Missing { found }| PromptProblem::NoField {
            place: format!("value {}", self.value),
            field: self.field.name().to_owned(),
            found,
        })?;
        if text.len() > most {
            return Err(PromptProblem::ValueTooLong { value: self.value, most });
        }
        Ok(Some(text))
    }
}

/// Reads the values of a file, which are written one after another.
pub(super) fn parse(path: &Path) -> Result<Vec<Value>, PromptProblem> {
    let mut text = Vec::new();
    Input::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(PromptProblem::FileTooLong { most: LONGEST });
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    values.map(|value| value.map_err(|error| PromptProblem::json(error.line(), &error))).collect()
}
