//! A file that one process at a time works on.

use std::{
    fs::{File, TryLockError},
    io,
    ops::{Deref, DerefMut},
};

/// A file locked by this process. The operating system releases the lock when the process ends, however it ends.
///
/// The lock guards against a mistake, not against an adversary. Some network file systems have no locks. There the file counts as
/// locked.
///
/// # Example
///
/// ```
/// use inject_states::durable::LockedFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal.jsonl");
/// let first = LockedFile::lock(std::fs::File::create(&path)?)?;
/// let second = LockedFile::lock(std::fs::File::open(&path)?)?;
/// assert!(first.is_some() && second.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Locks a file. Returns `None` if another process, or another handle of this process, has locked it.
    ///
    /// # Errors
    ///
    /// Fails if the operating system does.
    pub fn lock(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(LockedFile(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(LockedFile(file)))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for LockedFile {
    /// Releases the lock. Closing the file is not enough: a child process holds it too until its own program has started.
    fn drop(&mut self) {
        // If this fails, the lock is released when the process ends.
        let _ = self.0.unlock();
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockedFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_although_its_file_is_still_open_elsewhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().write(true).open(file.path()).unwrap();
        let first = LockedFile::lock(open()).unwrap().unwrap();
        assert!(LockedFile::lock(open()).unwrap().is_none());
        // A child process that is being started holds such a duplicate.
        let inherited = first.try_clone().unwrap();
        drop(first);
        assert!(LockedFile::lock(open()).unwrap().is_some());
        drop(inherited);
    }
}
