//! Small text files: the config of a checkpoint folder, its index of shards, the records of a cache.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::refuse_pointer;
use crate::error::ModelError;

/// The longest such file that is read, in bytes. The index of 60 thousand tensors has about 6 MB.
const LONGEST_TEXT: u64 = 32 << 20;

/// Reads an ordinary file as text, if it is not longer than [`LONGEST_TEXT`]. A pipe could keep its reader waiting for ever.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let read_error = |source| ModelError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if !fs::metadata(path).map_err(read_error)?.is_file() {
        let reason = "expected an ordinary file, found a folder, a device or a pipe";
        return Err(read_error(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let mut file = File::open(path).map_err(read_error)?.take(LONGEST_TEXT + 1);
    file.read_to_end(&mut bytes).map_err(read_error)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        let reason = format!("more than {LONGEST_TEXT} bytes");
        return Err(read_error(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    let is_utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    let text = String::from_utf8(bytes).map_err(|_| {
        let reason = if is_utf16 { "it is in UTF-16: save it as UTF-8" } else { "it is not in UTF-8" };
        read_error(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    refuse_pointer(path)?;
    Ok(text)
}
