//! The finished units of a study, on disk.

mod description;
mod line;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use inject_sipit::states::LockedFile;
use serde::{Serialize, de::DeserializeOwned};

pub use self::description::{Description, Difference};
use self::line::{Checksums, seal, unseal};
use crate::{error::StudyError, name::StudyName};

/// The finished units of a study, each with its result.
///
/// A study is a list of units that do not depend on each other. On disk a journal has one line of JSON with the [`Description`]
/// of the study, and one for each finished unit. A unit's line is durable before the study goes on, so a study that is killed
/// goes on when it is run again: an unfinished line is dropped, and no finished unit is computed again. The journals of the
/// parts of a study add up to the journal of the whole by [`Journal::absorb`].
///
/// Each line ends with a field `crc32`, the checksum of the line without that field, so a damaged line is an error. Journals
/// that were begun before lines had checksums are still read.
#[derive(Debug)]
pub struct Journal<U, R> {
    file: Option<(PathBuf, LockedFile)>,
    about: Description,
    done: Vec<(U, R)>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<U, R> {
    unit: U,
    result: R,
}

/// The study that a journal belongs to, from its first line.
///
/// # Errors
///
/// [`StudyError::Journal`] if the file cannot be read, [`StudyError::JournalLine`] or [`StudyError::JournalChecksum`] if its
/// first line is not that of a journal, [`StudyError::JournalEmpty`] if it has no whole line.
pub fn study_of(path: &Path) -> Result<StudyName, StudyError> {
    let failed = |source| StudyError::Journal { action: "read", path: path.to_owned(), source };
    // The first line holds a description, which is far smaller than this.
    const LONGEST: u64 = 64 << 20;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    io::BufRead::read_until(&mut io::BufReader::new(file.take(LONGEST)), b'\n', &mut bytes)
        .map_err(failed)?;
    if bytes.last() != Some(&b'\n') {
        return Err(StudyError::JournalEmpty { path: path.to_owned() });
    }
    let (about, _) = unseal::<Description>(&bytes, path, 1, Checksums::Optional)?;
    Ok(about.study())
}

impl<U, R> Journal<U, R>
where
    U: Serialize + DeserializeOwned + PartialEq,
    R: Serialize + DeserializeOwned,
{
    /// A journal without a file.
    pub fn in_memory(about: &Description) -> Self {
        Journal { file: None, about: about.clone(), done: Vec::new() }
    }

    /// Opens the journal of a study at `path`, or begins it. `about` must hold everything that the results depend on.
    ///
    /// # Errors
    ///
    /// - [`StudyError::OtherStudy`] if the file belongs to another study.
    /// - [`StudyError::JournalBusy`] if another process has it open.
    /// - [`StudyError::JournalLine`] and [`StudyError::JournalChecksum`] for a line that is not one of this study or is damaged.
    /// - [`StudyError::Journal`] if the file cannot be read or written.
    pub fn open(path: &Path, about: &Description) -> Result<Self, StudyError> {
        let failed = |action| move |source| StudyError::Journal { action, path: path.to_owned(), source };
        let mut options = File::options();
        let file =
            options.create(true).truncate(false).read(true).write(true).open(path).map_err(failed("open"))?;
        let Some(mut file) = LockedFile::lock(file).map_err(failed("lock"))? else {
            return Err(StudyError::JournalBusy { path: path.to_owned() });
        };
        let mut journal = Journal::in_memory(about);
        let whole = journal.read(path)?;
        // An unfinished line is cut off, so that the next line begins at its place.
        file.set_len(whole).map_err(failed("shorten"))?;
        file.seek(io::SeekFrom::End(0)).map_err(failed("read"))?;
        journal.file = Some((path.to_owned(), file));
        if whole == 0 {
            journal.write_line(&about.clone())?;
        }
        Ok(journal)
    }

    /// Adds the units that another journal of the same study holds and this one lacks.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`], and [`StudyError::JournalEmpty`] if the file has no whole line.
    pub fn absorb(&mut self, path: &Path) -> Result<(), StudyError> {
        let mut other = Journal::in_memory(&self.about);
        if other.read(path)? == 0 {
            return Err(StudyError::JournalEmpty { path: path.to_owned() });
        }
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

    /// Records the result of a unit. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StudyError::Journal`] if the file cannot be written.
    pub fn push(&mut self, unit: U, result: R) -> Result<(), StudyError> {
        let line = Line { unit, result };
        self.write_line(&line)?;
        self.done.push((line.unit, line.result));
        Ok(())
    }

    fn write_line(&mut self, value: &impl Serialize) -> Result<(), StudyError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let failed = |source| StudyError::Journal { action: "write", path: path.clone(), source };
        file.write_all(seal(value).as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
    }

    /// Reads all whole lines. Returns their length in bytes.
    fn read(&mut self, path: &Path) -> Result<u64, StudyError> {
        let failed = |source| StudyError::Journal { action: "read", path: path.to_owned(), source };
        let bytes = fs::read(path).map_err(failed)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n').zip(1..);
        let Some((first, number)) = lines.next() else { return Ok(0) };
        let (found, checksums) = unseal::<Description>(first, path, number, Checksums::Optional)?;
        if let Some(difference) = found.difference(&self.about) {
            return Err(StudyError::OtherStudy { path: path.to_owned(), difference: Box::new(difference) });
        }
        for (line, number) in lines {
            let (Line { unit, result }, _) = unseal(line, path, number, checksums)?;
            self.done.push((unit, result));
        }
        Ok(whole as u64)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Numbers = Journal<u32, f64>;

    fn numbers() -> Description {
        Description::new(StudyName::Lengths, json!({ "count": 3 }))
    }

    /// A journal of the results 0.1 and 0.3 of the units 1 and 2.
    fn two_units(path: &Path) -> Vec<u8> {
        let mut journal = Numbers::open(path, &numbers()).unwrap();
        journal.push(1, 0.1).unwrap();
        journal.push(2, 0.3).unwrap();
        drop(journal);
        fs::read(path).unwrap()
    }

    #[test]
    fn an_unfinished_line_is_dropped_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let whole = two_units(&path);
        let second = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Numbers::open(&path, &numbers()).unwrap();
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
    fn every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let whole = two_units(&path);
        for (place, bit) in (0..whole.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            match Numbers::open(&path, &numbers()) {
                Err(_) => {}
                // A damaged end of line makes two lines one, or the last line unfinished.
                Ok(journal) => {
                    assert_eq!(place, whole.len() - 1, "bit {bit} of byte {place} was not noticed");
                    assert_eq!((journal.result(&1), journal.result(&2)), (Some(&0.1), None));
                }
            }
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let text = String::from_utf8(two_units(&path)).unwrap();
        fs::write(&path, text.replace("0.3", "0.4")).unwrap();
        let error = Numbers::open(&path, &numbers()).unwrap_err();
        assert!(matches!(error, StudyError::JournalChecksum { line: 3, found: Some(_), .. }), "{error}");
        let unsealed = format!("{}}}\n", &text[..text.rfind(",\"crc32").unwrap()]);
        fs::write(&path, unsealed).unwrap();
        let error = Numbers::open(&path, &numbers()).unwrap_err();
        assert!(matches!(error, StudyError::JournalChecksum { line: 3, found: None, .. }), "{error}");
    }

    #[test]
    fn journals_without_checksums_are_read_and_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        // Floating-point numbers were once written as objects with their digits as text.
        let old =
            concat!("{\"count\":3,\"study\":\"lengths\"}\n", "{\"result\":{\"f64\":\"0.1\"},\"unit\":1}\n");
        fs::write(&path, old).unwrap();
        let mut journal = Numbers::open(&path, &numbers()).unwrap();
        assert_eq!(journal.result(&1), Some(&0.1));
        journal.push(2, 0.3).unwrap();
        drop(journal);
        let journal = Numbers::open(&path, &numbers()).unwrap();
        assert_eq!((journal.result(&1), journal.result(&2)), (Some(&0.1), Some(&0.3)));
        assert!(fs::read_to_string(&path).unwrap().starts_with(old));
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let values: Vec<f64> =
            (0..200_u64).map(|i| f64::from_bits(i.wrapping_mul(0x3ff1_2345_6789_abcd) >> 2)).collect();
        let mut journal = Numbers::open(&path, &numbers()).unwrap();
        values.iter().enumerate().for_each(|(i, &value)| journal.push(i as u32, value).unwrap());
        drop(journal);
        let journal = Numbers::open(&path, &numbers()).unwrap();
        let found: Vec<f64> = (0..200).map(|i| *journal.result(&i).unwrap()).collect();
        assert_eq!(found, values);
    }

    #[test]
    fn another_study_a_second_writer_a_foreign_line_and_an_empty_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Numbers::open(&path, &numbers()).unwrap();
        assert!(matches!(Numbers::open(&path, &numbers()), Err(StudyError::JournalBusy { .. })));
        drop(journal);
        let other = Description::new(StudyName::Lengths, json!({ "count": 4 }));
        let error = Numbers::open(&path, &other).unwrap_err().to_string();
        assert!(error.ends_with("belongs to another study: `count` is 3, expected 4"), "{error}");
        fs::write(&path, "{\"count\":3,\"study\":\"lengths\"}\nno JSON\n").unwrap();
        assert!(matches!(Numbers::open(&path, &numbers()), Err(StudyError::JournalLine { line: 2, .. })));
        fs::write(&path, "{\"count\":3").unwrap();
        let mut journal = Numbers::in_memory(&numbers());
        assert!(matches!(journal.absorb(&path), Err(StudyError::JournalEmpty { .. })));
    }

    #[test]
    fn the_first_line_says_which_study_a_journal_belongs_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        two_units(&path);
        assert_eq!(study_of(&path).unwrap(), StudyName::Lengths);
        fs::write(&path, "{\"study\":\"corpus\"}\n").unwrap();
        assert_eq!(study_of(&path).unwrap(), StudyName::Corpus);
        fs::write(&path, "{\"study\":\"corpses\"}\n").unwrap();
        assert!(matches!(study_of(&path), Err(StudyError::JournalLine { line: 1, .. })));
        fs::write(&path, "").unwrap();
        assert!(matches!(study_of(&path), Err(StudyError::JournalEmpty { .. })));
    }

    #[test]
    fn journals_of_parts_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for (path, units) in paths.iter().zip([[1, 2], [2, 3]]) {
            let mut journal = Numbers::open(path, &numbers()).unwrap();
            units.into_iter().for_each(|unit| journal.push(unit, 1.0 / f64::from(unit)).unwrap());
        }
        let mut journal = Numbers::in_memory(&numbers());
        paths.iter().for_each(|path| journal.absorb(path).unwrap());
        assert_eq!(journal.done, [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0)]);
    }
}
