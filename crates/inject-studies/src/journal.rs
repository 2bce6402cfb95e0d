//! The finished units of a study, on disk.

mod description;
#[cfg(test)]
mod tests;

use std::path::Path;

use inject_sipit::states::durable::{JsonLines, JsonLinesError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::description::Description;
use crate::{error::StudyError, name::StudyName};

/// The finished units of a study, each with its result.
///
/// A study is a list of units that do not depend on each other. On disk a journal is a file of [`JsonLines`]: a header with the
/// [`Description`] of the study, and a line for each finished unit, durable before the study continues. So a killed study continues
/// when it is run again, and no finished unit is computed twice. The journals of the shares of a study add up to the journal of
/// the whole by [`Journal::absorb`].
#[derive(Debug)]
pub struct Journal<U, R> {
    file: Option<JsonLines>,
    about: Description,
    done: Vec<(U, R)>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Line<U, R> {
    unit: U,
    result: R,
}

/// Reads the name of the study to which a journal belongs from its first line.
///
/// # Errors
///
/// [`StudyError::Journal`] if the file cannot be read or its first line is not that of a journal, and
/// [`StudyError::JournalEmpty`] if it has no complete line.
pub fn study_of(path: &Path) -> Result<StudyName, StudyError> {
    let about: Option<Description> = JsonLines::header(path)?;
    about.map(|about| about.study()).ok_or_else(|| StudyError::JournalEmpty { path: path.to_owned() })
}

impl<U, R> Journal<U, R>
where
    U: Serialize + DeserializeOwned + PartialEq,
    R: Serialize + DeserializeOwned,
{
    /// Creates a journal that is not written to a file.
    pub fn in_memory(about: &Description) -> Self {
        Journal { file: None, about: about.clone(), done: Vec::new() }
    }

    /// Opens the journal of a study at `path`, or creates it. `about` must contain everything on which the results depend.
    ///
    /// # Errors
    ///
    /// [`StudyError::Journal`] if the file belongs to another study, is open in another process, contains a line that is damaged
    /// or does not belong to this study, or cannot be read or written.
    pub fn open(path: &Path, about: &Description) -> Result<Self, StudyError> {
        let mut journal = Journal::in_memory(about);
        let take = &mut |line: Value| {
            journal.done.push(finished(line)?);
            Ok(())
        };
        journal.file = Some(JsonLines::open(path, about, take)?);
        Ok(journal)
    }

    /// Adds the units of another journal of the same study that this one lacks.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::open`], and [`StudyError::JournalEmpty`] if the file has no complete line.
    pub fn absorb(&mut self, path: &Path) -> Result<(), StudyError> {
        study_of(path)?;
        let mut found: Vec<(U, R)> = Vec::new();
        let take = &mut |line: Value| {
            found.push(finished(line)?);
            Ok(())
        };
        JsonLines::read(path, &self.about, take).map_err(JsonLinesError::of_a_share)?;
        for (unit, result) in found {
            if self.result(&unit).is_none() {
                self.push(unit, result)?;
            }
        }
        Ok(())
    }

    /// Returns the result of a unit, if it is finished.
    pub fn result(&self, unit: &U) -> Option<&R> {
        self.done.iter().find(|(done, _)| done == unit).map(|(_, result)| result)
    }

    /// Records the result of a unit. It is on disk when this function returns.
    ///
    /// # Errors
    ///
    /// [`StudyError::Journal`] if the file cannot be written.
    pub fn push(&mut self, unit: U, result: R) -> Result<(), StudyError> {
        let line = Line { unit, result };
        if let Some(file) = &mut self.file {
            file.append(&line)?;
        }
        self.done.push((line.unit, line.result));
        Ok(())
    }
}

/// Parses the line of a finished unit.
fn finished<U: DeserializeOwned, R: DeserializeOwned>(line: Value) -> Result<(U, R), String> {
    let Line { unit, result } = serde_json::from_value(plain_numbers(line))
        .map_err(|error| format!("not a unit of this study: {error}"))?;
    Ok((unit, result))
}

/// Replaces `{"f64": "0.1"}` by `0.1`. Old journals contain the first form, because `serde_json` did not read floating-point
/// numbers exactly when they were written.
fn plain_numbers(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(plain_numbers).collect(),
        Value::Object(fields) => {
            let number = match fields.get("f64") {
                Some(Value::String(digits)) if fields.len() == 1 => digits.parse::<f64>().ok(),
                _ => None,
            };
            match number {
                Some(number) => Value::from(number),
                None => fields.into_iter().map(|(name, value)| (name, plain_numbers(value))).collect(),
            }
        }
        other => other,
    }
}
