//! A file that one process at a time works on.

use std::{
    fs::{File, TryLockError},
    io,
    ops::{Deref, DerefMut},
};

/// A file that nobody else has locked. The operating system takes the lock back when the process ends, however it ends.
///
/// It guards against a mistake only: some network file systems have no locks, and there every file counts as locked.
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Locks a file; none when somebody else has.
    ///
    /// # Errors
    ///
    /// When it cannot be asked for.
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
    /// Closing the file would not be enough: a process that is just being started holds it too, until its own program has begun.
    fn drop(&mut self) {
        // What fails here is undone when the process ends.
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
    fn a_lock_that_is_dropped_is_free_whoever_else_holds_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().write(true).open(file.path()).unwrap();
        let first = LockedFile::lock(open()).unwrap().unwrap();
        assert!(LockedFile::lock(open()).unwrap().is_none());
        // As a process that is being started does.
        let inherited = first.try_clone().unwrap();
        drop(first);
        assert!(LockedFile::lock(open()).unwrap().is_some());
        drop(inherited);
    }
}
