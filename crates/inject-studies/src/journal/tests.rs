//! Tests of journals that are truncated, damaged, foreign or old.

use std::fs;

use serde_json::json;

use inject_sipit::states::durable::JsonLinesError;

use super::*;

type Numbers = Journal<u32, f64>;

fn numbers() -> Description {
    Description::new(StudyName::Lengths, json!({ "count": 3 }))
}

/// Writes a journal with the results 0.1 and 0.3 of the units 1 and 2, and returns its bytes.
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
fn no_flipped_bit_changes_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let whole = two_units(&path);
    for (place, bit) in (0..whole.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << bit;
        fs::write(&path, &damaged).unwrap();
        match Numbers::open(&path, &numbers()) {
            Err(_) => {}
            // If the end of the last line is damaged, the line counts as unfinished. If the name of a checksum is damaged, the
            // results are still right.
            Ok(journal) => {
                let second = if place == whole.len() - 1 { None } else { Some(&0.3) };
                let found = (journal.result(&1), journal.result(&2));
                assert_eq!(found, (Some(&0.1), second), "bit {bit} of byte {place} was not noticed");
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
    match *journal_error(Numbers::open(&path, &numbers()).unwrap_err()) {
        JsonLinesError::Checksum { line: 3, .. } => {}
        other => panic!("{other}"),
    }
}

fn journal_error(error: StudyError) -> Box<JsonLinesError> {
    match error {
        StudyError::Journal(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn journals_without_checksums_are_read_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    // Floating-point numbers were once written as objects with their digits as text.
    let old = concat!("{\"count\":3,\"study\":\"lengths\"}\n", "{\"result\":{\"f64\":\"0.1\"},\"unit\":1}\n");
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
    let refused = |about: &Description| journal_error(Numbers::open(&path, about).unwrap_err());
    assert!(matches!(*refused(&numbers()), JsonLinesError::Busy { .. }));
    drop(journal);
    let other = Description::new(StudyName::Lengths, json!({ "count": 4 }));
    match *refused(&other) {
        JsonLinesError::Header { field, found, expected, .. } => {
            assert_eq!([field.as_str(), found.as_str(), expected.as_str()], ["count", "3", "4"]);
        }
        other => panic!("{other}"),
    }
    for (line, reason) in
        [("no JSON", "a line that is not JSON"), ("{\"unit\":1}", "a line without a result")]
    {
        fs::write(&path, format!("{{\"count\":3,\"study\":\"lengths\"}}\n{line}\n")).unwrap();
        let error = refused(&numbers());
        assert!(
            matches!(
                *error,
                JsonLinesError::Syntax { line: 2, .. } | JsonLinesError::Refused { line: 2, .. }
            ),
            "{reason}: {error}"
        );
    }
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
    assert!(matches!(study_of(&path), Err(StudyError::Journal(_))));
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
