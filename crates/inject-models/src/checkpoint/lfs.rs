//! Git LFS pointers, which replace large files in a clone without LFS.

use std::{fs::File, io::Read, path::Path};

use crate::error::ModelError;

/// The first line of a pointer.
///
/// # Source
///
/// <https://github.com/git-lfs/git-lfs>, `docs/spec.md`.
const FIRST_LINE: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Checks that a file is not a pointer. A file that cannot be read passes: its reader says so.
pub(crate) fn refuse_pointer(path: &Path) -> Result<(), ModelError> {
    let mut begin = [0_u8; FIRST_LINE.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    match read {
        Ok(()) if begin == FIRST_LINE => Err(ModelError::LfsPointer { path: path.to_owned() }),
        _ => Ok(()),
    }
}
