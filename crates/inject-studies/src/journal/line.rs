//! Lines of JSON with checksums.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::StudyError;

/// Whether lines of a journal must have checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Every line has one.
    Required,
    /// Only lines that were added later have one: the journal was begun without.
    Optional,
}

/// The text before the eight hexadecimal digits of a checksum.
const BEFORE: &str = ",\"crc32\":\"";
/// The text after them.
const AFTER: &str = "\"}";
const SEAL: usize = BEFORE.len() + 8 + AFTER.len();

/// A value that is a JSON object as a line, with the checksum of its text as the last field.
///
/// # Panics
///
/// If the value cannot be written as JSON, such as a map whose keys are not text.
pub(super) fn seal(value: &impl Serialize) -> String {
    // Through a `Value`, which sorts the fields of every object by name.
    let text =
        serde_json::to_value(value).expect("results and descriptions of studies are plain data").to_string();
    let open = text.strip_suffix('}').expect("a line is an object");
    format!("{open}{BEFORE}{:08x}{AFTER}\n", crc32fast::hash(text.as_bytes()))
}

/// Reads a line, and verifies its checksum. Also returns whether the lines after a first line with or without a checksum must
/// have one.
///
/// # Errors
///
/// [`StudyError::JournalChecksum`] if the checksum differs, or is required and missing. [`StudyError::JournalLine`] if the text
/// is not the JSON of a `T`.
pub(super) fn unseal<T: DeserializeOwned>(
    line: &[u8],
    path: &Path,
    number: usize,
    checksums: Checksums,
) -> Result<(T, Checksums), StudyError> {
    let damaged = |found| StudyError::JournalChecksum { path: path.to_owned(), line: number, found };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (text, sealed) = match split(line) {
        Some((text, expected)) => {
            let found = format!("{:08x}", crc32fast::hash(&text));
            if found.as_bytes() != expected {
                return Err(damaged(Some(found)));
            }
            (text, Checksums::Required)
        }
        None if checksums == Checksums::Required => return Err(damaged(None)),
        None => (line.to_vec(), Checksums::Optional),
    };
    let bad = |source| StudyError::JournalLine { path: path.to_owned(), line: number, source };
    let value = plain_numbers(serde_json::from_slice(&text).map_err(bad)?);
    Ok((serde_json::from_value(value).map_err(bad)?, sealed))
}

/// The text of a line without its checksum, and the checksum.
fn split(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (open, seal) = line.split_at(line.len().checked_sub(SEAL)?);
    let digits = seal.strip_prefix(BEFORE.as_bytes())?.strip_suffix(AFTER.as_bytes())?;
    Some(([open, b"}"].concat(), digits))
}

/// Replaces `{"f64": "0.1"}` by `0.1`. Journals hold the first form where they were written before `serde_json` read
/// floating-point numbers exactly.
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
