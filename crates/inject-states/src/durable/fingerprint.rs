//! The identity of a file's content.

use std::{fs::File, io::Read, path::Path};

use super::{Checksum, FileError};

/// The bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// Returns the [`Checksum`] of a file's content, in hexadecimal.
///
/// # Errors
///
/// [`FileError`].
///
/// # Example
///
/// ```
/// use inject_states::durable;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("file");
/// std::fs::write(&path, "")?;
/// assert_eq!(durable::fingerprint(&path)?, "2d06800538d394c2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fingerprint(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::of("open", path))?;
    let mut checksum = Checksum::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(FileError::of("read", path))? {
            0 => return Ok(checksum.to_string()),
            read => checksum.update(&piece[..read]),
        }
    }
}
