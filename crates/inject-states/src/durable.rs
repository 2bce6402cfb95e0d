//! Files that survive a kill, a second process and a loss of power.
//!
//! - [`replace`] and [`replace_with`] write a file whole or not at all.
//! - [`Checksum`] detects damaged bytes.
//! - [`checksum_member`] adds a checksum to a JSON object.
//! - [`circumstances`] writes the circumstances of a computation into a description, and compares those of older versions.
//! - [`fingerprint`] tells one file from another.
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

mod checksum;
pub mod checksum_member;
pub mod circumstances;
mod fingerprint;
mod json_lines;
mod locked_file;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

pub use self::{
    checksum::Checksum,
    fingerprint::fingerprint,
    json_lines::{JsonLines, JsonLinesError, Remedy},
    locked_file::LockedFile,
};

/// An action on a file or folder that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
#[non_exhaustive]
pub struct FileError {
    /// The action, such as `create` or `rename`.
    pub action: &'static str,
    /// The file or folder on which the operation failed.
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
/// are durable. One process at a time writes the file.
///
/// # Errors
///
/// [`FileError`], also if another process is writing the file, or if a device or a pipe is there. The old contents remain.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace_with(path, |out| out.write_all(bytes).map_err(FileError::of("write", path)))
}

/// As [`replace`], for contents that `write` produces piece by piece. Returns what `write` does.
///
/// # Errors
///
/// The error of `write`, or a [`FileError`]. The old contents remain.
pub fn replace_with<T, E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    // A file that takes the name of a device would take its place.
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let reason = "expected an ordinary file, found a device or a pipe";
        return Err(
            FileError::of("replace", path)(io::Error::new(io::ErrorKind::InvalidInput, reason)).into()
        );
    }
    let temporary = partial(path);
    let lock = lock_alone(&temporary)?;
    let file = lock.try_clone().map_err(FileError::of("create", &temporary))?;
    let mut out = BufWriter::new(file);
    let written = write(&mut out)?;
    out.flush().map_err(FileError::of("write", &temporary))?;
    out.get_ref().sync_all().map_err(FileError::of("sync", &temporary))?;
    drop(out);
    rename(&temporary, path)?;
    sync_folder(parent(path))?;
    Ok(written)
}

/// Opens a file to replace its content, and locks it.
fn lock_alone(path: &Path) -> Result<LockedFile, FileError> {
    let busy = || {
        let reason = "another process is writing this file";
        FileError::of("lock", path)(io::Error::new(io::ErrorKind::ResourceBusy, reason))
    };
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(FileError::of("create", path))?;
    let locked = LockedFile::lock(file).map_err(FileError::of("lock", path))?.ok_or_else(busy)?;
    // The process that had the lock until now has given the file its final name, and its contents are not to be touched.
    if !is_at(&locked, path) {
        return Err(busy());
    }
    locked.set_len(0).map_err(FileError::of("shorten", path))?;
    Ok(locked)
}

/// Whether an open file is still the one at a path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere an open file cannot be renamed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Opens an ordinary file for reading. A pipe could keep its reader waiting for ever, and a device has no end.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for anything other than an ordinary file, and the errors of [`File::open`].
pub fn open_ordinary(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected an ordinary file, found a folder, a device or a pipe",
        )),
    }
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
            Err::<(), _>(FileError::of("write", &path)(io::Error::other("no space")))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_replaced() {
        // A link, so that a fault replaces the link alone.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let error = replace(&path, b"new").unwrap_err();
        assert_eq!((error.action, error.source.kind()), ("replace", io::ErrorKind::InvalidInput));
        assert!(path.is_symlink());
    }

    #[test]
    fn a_second_writer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lens");
        replace(&path, b"old").unwrap();
        replace_with(&path, |out| {
            let error = replace(&path, b"of the second").unwrap_err();
            assert_eq!((error.action, error.source.kind()), ("lock", io::ErrorKind::ResourceBusy));
            assert_eq!(fs::read(&path).unwrap(), b"old");
            out.write_all(b"new").map_err(FileError::of("write", &path))
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_got_its_final_name_meanwhile_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let [path, temporary] = ["a", "b"].map(|name| dir.path().join(name));
        fs::write(&temporary, "whole").unwrap();
        let open = File::options().write(true).open(&temporary).unwrap();
        assert!(is_at(&open, &temporary));
        fs::rename(&temporary, &path).unwrap();
        assert!(!is_at(&open, &temporary));
        fs::write(&temporary, "another").unwrap();
        assert!(!is_at(&open, &temporary) && is_at(&open, &path));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_permissions_of_any_other() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| dir.path().join(name));
        replace(&path, b"a").unwrap();
        fs::write(&other, b"b").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }

    #[test]
    fn a_missing_file_counts_as_removed() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
    }
}
