//! The finished units of a study, on disk.

use std::path::Path;

use inject_sipit::states::durable::{FileError, JsonLines, JsonLinesError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::StudyError;

/// The finished units of a study, each with its result.
///
/// A study is a list of units that do not depend on each other. On disk a journal is a file of [`JsonLines`]: a header that
/// describes the study, and a line for each finished unit, durable before the study goes on. A killed study is run again to go on:
/// no finished unit is computed twice. Journals of parts of a study add up to the journal of the whole by [`Journal::absorb`].
#[derive(Debug)]
pub struct Journal<U, R> {
    file: Option<JsonLines>,
    about: Value,
    done: Vec<(U, R)>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Line<U, R> {
    unit: U,
    result: R,
}

impl<U, R> Journal<U, R>
where
    U: Serialize + DeserializeOwned + PartialEq,
    R: Serialize + DeserializeOwned,
{
    /// Makes a journal that remembers nothing after the process.
    pub fn in_memory(about: &impl Serialize) -> Self {
        Journal { file: None, about: to_value(about), done: Vec::new() }
    }

    /// Opens the journal of a study at `path`, or begins it. `about` holds everything that the results depend on.
    ///
    /// # Errors
    ///
    /// [`StudyError::OtherStudy`] if the file is about something else, [`StudyError::JournalBusy`] if another process has
    /// it open, [`StudyError::JournalLine`] for a malformed or damaged line, [`StudyError::Journal`] if the file cannot be read or
    /// written.
    pub fn open(path: &Path, about: &impl Serialize) -> Result<Self, StudyError> {
        let mut journal = Journal::in_memory(about);
        let take = &mut |Line { unit, result }| {
            journal.done.push((unit, result));
            Ok(())
        };
        let file = JsonLines::open(path, &journal.about, take).map_err(of_study)?;
        journal.file = Some(file);
        Ok(journal)
    }

    /// Adds the units that another journal of the same study holds and this one does not.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn absorb(&mut self, path: &Path) -> Result<(), StudyError> {
        let mut found: Vec<Line<U, R>> = Vec::new();
        let take = &mut |line| {
            found.push(line);
            Ok(())
        };
        JsonLines::read(path, &self.about, take).map_err(of_study)?;
        for Line { unit, result } in found {
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

    /// Adds the result of a unit. When this returns, it is on disk.
    ///
    /// # Errors
    ///
    /// [`StudyError::Journal`] if it cannot be written.
    pub fn push(&mut self, unit: U, result: R) -> Result<(), StudyError> {
        let line = Line { unit, result };
        if let Some(file) = &mut self.file {
            file.append(&line).map_err(of_file)?;
        }
        self.done.push((line.unit, line.result));
        Ok(())
    }
}

/// Returns the error of a study for that of its journal.
fn of_study(error: JsonLinesError) -> StudyError {
    match error {
        JsonLinesError::File(error) => of_file(error),
        JsonLinesError::Busy { path } => StudyError::JournalBusy { path },
        JsonLinesError::Header { path, field, found, expected, .. } => {
            let of = |value| if field.is_empty() { value } else { format!("{field} = {value}") };
            StudyError::OtherStudy { path, found: of(found), expected: of(expected) }
        }
        JsonLinesError::Syntax { path, line, source } => {
            StudyError::JournalLine { path, line, reason: source.to_string() }
        }
        JsonLinesError::Checksum { path, line } => {
            StudyError::JournalLine { path, line, reason: "it does not agree with its checksum".to_owned() }
        }
        JsonLinesError::Refused { path, line, reason } => StudyError::JournalLine { path, line, reason },
        JsonLinesError::Foreign { path } => {
            StudyError::JournalLine { path, line: 1, reason: "it is not the header of a study".to_owned() }
        }
    }
}

fn of_file(FileError { action, path, source, .. }: FileError) -> StudyError {
    StudyError::Journal { action, path, source }
}

/// # Panics
///
/// Panics if JSON cannot hold the value, for example a map whose keys are not text. The descriptions of studies can be held.
fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("descriptions of studies are plain data")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    type Numbers = Journal<u32, f64>;

    #[test]
    fn a_line_that_was_not_finished_is_dropped_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Numbers::open(&path, &"numbers").unwrap();
        journal.push(1, 0.1).unwrap();
        journal.push(2, 0.3).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let second = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Numbers::open(&path, &"numbers").unwrap();
            assert_eq!(journal.result(&2).is_some(), length == whole.len());
            if length >= second {
                assert_eq!(journal.result(&1), Some(&0.1));
            }
            for (unit, result) in [(1, 0.1), (2, 0.3)] {
                if journal.result(&unit).is_none() {
                    journal.push(unit, result).unwrap();
                }
            }
            drop(journal);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let numbers: Vec<f64> =
            (0..2000_u64).map(|i| f64::from_bits(i.wrapping_mul(0x3ff1_2345_6789_abcd) >> 2)).collect();
        let mut journal = Numbers::open(&path, &"numbers").unwrap();
        numbers.iter().enumerate().for_each(|(i, &number)| journal.push(i as u32, number).unwrap());
        drop(journal);
        let journal = Numbers::open(&path, &"numbers").unwrap();
        let found: Vec<f64> = (0..2000).map(|i| *journal.result(&i).unwrap()).collect();
        assert_eq!(found, numbers);
    }

    #[test]
    fn another_study_a_second_writer_and_a_foreign_line_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Numbers::open(&path, &"numbers").unwrap();
        assert!(matches!(Numbers::open(&path, &"numbers"), Err(StudyError::JournalBusy { .. })));
        drop(journal);
        assert!(matches!(Numbers::open(&path, &"letters"), Err(StudyError::OtherStudy { .. })));
        fs::write(&path, "\"numbers\"\nno JSON\n").unwrap();
        assert!(matches!(Numbers::open(&path, &"numbers"), Err(StudyError::JournalLine { line: 2, .. })));
    }

    #[test]
    fn journals_of_parts_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for (path, units) in paths.iter().zip([[1, 2], [2, 3]]) {
            let mut journal = Numbers::open(path, &"numbers").unwrap();
            units.into_iter().for_each(|unit| journal.push(unit, 1.0 / f64::from(unit)).unwrap());
        }
        let mut journal = Numbers::in_memory(&"numbers");
        paths.iter().for_each(|path| journal.absorb(path).unwrap());
        assert_eq!(journal.done, [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0)]);
    }
}
