//! Files that survive a kill, a second process and a loss of power.
//!
//! - [`replace`] and [`replace_with`] write a file whole or not at all.
//! - [`JsonLines`] is a journal: one line of JSON for each finished piece of work.
//! - [`LockedFile`] keeps a second process out.
//!
//! # Example
//!
//! ```
//! use inject_states::durable;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("result.json");
//! durable::replace(&path, b"{}")?;
//! assert_eq!(std::fs::read(&path)?, b"{}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod json_lines;
mod locked_file;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

pub use self::{
    json_lines::{JsonLines, JsonLinesError},
    locked_file::LockedFile,
};

/// An action on a file or folder that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
#[non_exhaustive]
pub struct FileError {
    /// The action, such as `create` or `rename`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: io::Error,
}

impl FileError {
    /// Returns a function for `map_err` that adds the action and the path.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |source| FileError { action, path, source }
    }
}

/// Returns the path at which a file lies while it is being written: its own with `.partial` at the end.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    PathBuf::from(name)
}

/// Writes `bytes` as the contents of a file.
///
/// At every moment the file holds its old contents or the new ones, whole. When this returns, the new contents and the name
/// are durable.
///
/// # Errors
///
/// [`FileError`]. The old contents remain.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace_with(path, |out| out.write_all(bytes).map_err(FileError::of("write", path)))
}

/// As [`replace`], for contents that `write` produces piece by piece.
///
/// # Errors
///
/// The error of `write`, or a [`FileError`]. The old contents remain.
pub fn replace_with<E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let temporary = partial(path);
    let file = File::create(&temporary).map_err(FileError::of("create", &temporary))?;
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush().map_err(FileError::of("write", &temporary))?;
    out.get_ref().sync_all().map_err(FileError::of("sync", &temporary))?;
    drop(out);
    rename(&temporary, path)?;
    Ok(sync_folder(parent(path))?)
}

/// Makes a folder and its parents, unless they exist.
///
/// # Errors
///
/// [`FileError`].
pub fn create_folder(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(FileError::of("create", folder))?;
    sync_folder(parent(folder))
}

/// Renames a file within its folder. The new name is durable after [`sync_folder`].
///
/// # Errors
///
/// [`FileError`].
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::of("rename", from))
}

/// Removes a file if it exists.
///
/// # Errors
///
/// [`FileError`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(FileError::of("remove", path)),
    }
}

/// Makes the names in a folder durable.
///
/// Only Unix can open a folder as a file. Elsewhere this does nothing, and the file system's own journal has to suffice.
///
/// # Errors
///
/// [`FileError`].
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::of("sync", folder))?;
    }
    Ok(())
}

/// Returns the folder of a file. That of a bare file name is `.`.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whatever_an_interrupted_attempt_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        replace(&path, b"one").unwrap();
        fs::write(partial(&path), "garbage of another length").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!partial(&path).exists());
    }

    #[test]
    fn a_failed_attempt_leaves_the_old_contents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lens");
        replace(&path, b"old").unwrap();
        let error = replace_with(&path, |out| {
            out.write_all(b"half of the ne").unwrap();
            Err(FileError::of("write", &path)(io::Error::other("no space")))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_missing_file_counts_as_removed() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
    }
}
