//! One writer at a time.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use super::{durable, error::StoreError};

pub(super) const FILE: &str = "writer.lock";

/// The right to write a store. The operating system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    file: File,
}

impl WriterLock {
    /// # Errors
    ///
    /// [`StoreError::Busy`] when another writer has it.
    pub(super) fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(WriterLock { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy { path: dir.to_owned() }),
            // Some network file systems have no locks. They guard against a mistake only, so go without.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(WriterLock { file })
            }
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
        }
    }

    /// Removes the file of a lock that no longer guards anything.
    pub(super) fn remove(dir: &Path) -> Result<(), StoreError> {
        durable::remove(&dir.join(FILE))
    }
}

impl Drop for WriterLock {
    /// Closing the file would not be enough: a process that is just being started holds it too, until its own program has begun.
    fn drop(&mut self) {
        // It guards against a mistake only, and is gone with the process at the latest.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_whoever_else_holds_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::acquire(dir.path()).unwrap();
        // As a process that is being started does.
        let inherited = first.file.try_clone().unwrap();
        drop(first);
        WriterLock::acquire(dir.path()).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_second_writer_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::acquire(dir.path()).unwrap();
        assert!(matches!(WriterLock::acquire(dir.path()), Err(StoreError::Busy { .. })));
        drop(first);
        WriterLock::acquire(dir.path()).unwrap();
    }
}
