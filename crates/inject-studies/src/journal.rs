//! What a study has finished, on disk.

mod exact;

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use inject_sipit::states::LockedFile;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::StudyError;

/// The finished units of a study, each with its result.
///
/// A study is a list of units that do not depend on each other. On disk a journal is one line of JSON that says what the study
/// is about, and one for each finished unit, durable before the study goes on. So a study that is killed is taken up by running
/// it again: a line that was not finished is dropped, and no finished unit is computed again. Journals of parts of a study add
/// up to the journal of the whole by [`Journal::absorb`].
#[derive(Debug)]
pub struct Journal<U, R> {
    file: Option<(PathBuf, LockedFile)>,
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
    /// A journal that remembers nothing after the process.
    pub fn in_memory(about: &impl Serialize) -> Self {
        Journal { file: None, about: to_value(about), done: Vec::new() }
    }

    /// Opens the journal of a study at `path`, or begins it. `about` says everything that its results depend on.
    ///
    /// # Errors
    ///
    /// [`StudyError::OtherStudy`] when the file is about something else, [`StudyError::JournalBusy`] when another process has
    /// it open, [`StudyError::JournalLine`] for a line that no study wrote, [`StudyError::Journal`] when it cannot be read or
    /// written.
    pub fn open(path: &Path, about: &impl Serialize) -> Result<Self, StudyError> {
        let failed = |action| move |source| StudyError::Journal { action, path: path.to_owned(), source };
        let mut options = File::options();
        let file =
            options.create(true).truncate(false).read(true).write(true).open(path).map_err(failed("open"))?;
        let Some(mut file) = LockedFile::lock(file).map_err(failed("lock"))? else {
            return Err(StudyError::JournalBusy { path: path.to_owned() });
        };
        let mut journal = Journal { file: None, about: to_value(about), done: Vec::new() };
        let whole = journal.read(path)?;
        // What a kill left of a line is cut off, so that the next line begins at its place.
        file.set_len(whole).map_err(failed("shorten"))?;
        file.seek(io::SeekFrom::End(0)).map_err(failed("read"))?;
        journal.file = Some((path.to_owned(), file));
        if whole == 0 {
            let about = journal.about.clone();
            journal.write_line(&about)?;
        }
        Ok(journal)
    }

    /// Adds the units that another journal of the same study holds and this one does not.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn absorb(&mut self, path: &Path) -> Result<(), StudyError> {
        let mut other = Journal { file: None, about: self.about.clone(), done: Vec::new() };
        other.read(path)?;
        for (unit, result) in other.done {
            if self.result(&unit).is_none() {
                self.push(unit, result)?;
            }
        }
        Ok(())
    }

    /// The result of a unit, if it is finished.
    pub fn result(&self, unit: &U) -> Option<&R> {
        self.done.iter().find(|(done, _)| done == unit).map(|(_, result)| result)
    }

    /// Takes down the result of a unit. When this returns, it is on disk.
    ///
    /// # Errors
    ///
    /// [`StudyError::Journal`] when it cannot be written.
    pub fn push(&mut self, unit: U, result: R) -> Result<(), StudyError> {
        let line = Line { unit, result };
        self.write_line(&to_value(&line))?;
        self.done.push((line.unit, line.result));
        Ok(())
    }

    fn write_line(&mut self, value: &Value) -> Result<(), StudyError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let failed = |source| StudyError::Journal { action: "write", path: path.clone(), source };
        let line = format!("{}\n", exact::encode(value.clone()));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
    }

    /// Reads all whole lines, and says how long they are together.
    fn read(&mut self, path: &Path) -> Result<u64, StudyError> {
        let failed = |source| StudyError::Journal { action: "read", path: path.to_owned(), source };
        let bytes = fs::read(path).map_err(failed)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        for (number, line) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
            let bad = |error: serde_json::Error| {
                let (path, line, reason) = (path.to_owned(), number + 1, error.to_string());
                StudyError::JournalLine { path, line, reason }
            };
            let value = exact::decode(serde_json::from_slice(line).map_err(bad)?);
            if number > 0 {
                let Line { unit, result } = serde_json::from_value(value).map_err(bad)?;
                self.done.push((unit, result));
            } else if value != self.about {
                let (found, expected) = (value.to_string(), self.about.to_string());
                return Err(StudyError::OtherStudy { path: path.to_owned(), found, expected });
            }
        }
        Ok(whole as u64)
    }
}

/// # Panics
///
/// For a value that JSON cannot hold, such as a map with keys that are no text: those of the studies can be held.
fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("results and descriptions of studies are plain data")
}

#[cfg(test)]
mod tests {
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
