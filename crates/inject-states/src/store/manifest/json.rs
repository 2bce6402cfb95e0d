//! JSON files with a format version and a checksum: the manifest of a store, and the journal of one that is being written.

use std::{
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use super::FORMAT_VERSION;
use crate::{
    durable::{self, checksum_member},
    store::error::StoreError,
};

/// The longest manifest or journal that is read, in bytes. Those of a model with thousands of taps have less than a mebibyte.
const LONGEST: u64 = 16 << 20;

/// Reads a JSON file. Checks the format version of the part that `manifest` selects before everything else, and then the checksum.
/// Returns `None` if there is no such file. Files of older versions have no checksum.
pub(crate) fn read_versioned<T: serde::de::DeserializeOwned>(
    path: &Path,
    manifest: fn(&Value) -> &Value,
) -> Result<Option<T>, StoreError> {
    let text = match read_bounded(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("read", path))?,
    };
    let damaged = |source| StoreError::Json { path: path.to_owned(), source };
    let mut json: Value = serde_json::from_slice(&text).map_err(damaged)?;
    let version = &manifest(&json)["format_version"];
    if *version != FORMAT_VERSION {
        return Err(StoreError::FormatVersion {
            path: path.to_owned(),
            found: version.to_string(),
            expected: FORMAT_VERSION,
        });
    }
    if !checksum_member::agrees(text.trim_ascii_end()) {
        return Err(StoreError::Checksum { path: path.to_owned() });
    }
    if let Value::Object(members) = &mut json {
        members.remove(checksum_member::NAME);
    }
    serde_json::from_value(json).map(Some).map_err(damaged)
}

/// Reads an ordinary file of at most [`LONGEST`] bytes.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    durable::open_ordinary(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LONGEST {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {LONGEST} bytes"))),
        false => Ok(text),
    }
}

/// Returns the value as pretty-printed JSON with its checksum and a final newline.
pub(crate) fn to_json<T: serde::Serialize>(value: &T, path: &Path) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|source| StoreError::Json { path: path.to_owned(), source })?;
    Ok((checksum_member::added(json) + "\n").into_bytes())
}
