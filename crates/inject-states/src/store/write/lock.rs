//! The lock that allows only one writer at a time.

use std::{fs::File, path::Path};

use crate::{
    durable::{self, LockedFile},
    store::error::StoreError,
};

pub(crate) const FILE: &str = "writer.lock";

/// The right to write a store. The operating system releases it when the process ends, even if it is killed.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: LockedFile,
}

impl WriterLock {
    /// Acquires the lock of a folder.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if another writer holds it.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        match LockedFile::lock(file).map_err(StoreError::io("lock", &path))? {
            Some(file) => Ok(WriterLock { _file: file }),
            None => Err(StoreError::Busy { path: dir.to_owned() }),
        }
    }

    /// Removes the lock file of a store that no longer needs one.
    pub(crate) fn remove(dir: &Path) -> Result<(), StoreError> {
        Ok(durable::remove(&dir.join(FILE))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::acquire(dir.path()).unwrap();
        assert!(matches!(WriterLock::acquire(dir.path()), Err(StoreError::Busy { .. })));
        drop(first);
        WriterLock::acquire(dir.path()).unwrap();
    }
}
