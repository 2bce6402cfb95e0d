//! `tap-<name>.safetensors` while it is being written.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use inject_models::Tap;

use crate::{
    durable,
    store::{error::StoreError, layout::FileSpec, manifest::Manifest},
};

/// The file of one tap. It has its final length and header from the beginning.
#[derive(Debug)]
pub(crate) struct TapFile {
    path: PathBuf,
    file: File,
    /// The offset of the states in the file, in bytes.
    data: u64,
    /// The size of one state, in bytes.
    row: u64,
}

impl TapFile {
    /// Creates the file with its header.
    pub(crate) fn create(dir: &Path, manifest: &Manifest, tap: Tap) -> Result<Self, StoreError> {
        let spec = FileSpec::tap(manifest, tap);
        let path = durable::partial(&spec.path(dir));
        let create = || {
            let mut file = File::create(&path)?;
            file.write_all(&spec.header())?;
            file.set_len(spec.size())?;
            file.sync_all()?;
            Ok(file)
        };
        let file = create().map_err(StoreError::io("create", &path))?;
        Ok(TapFile::new(path, file, &spec, manifest))
    }

    /// Opens a file that an earlier run created.
    pub(crate) fn reopen(dir: &Path, manifest: &Manifest, tap: Tap) -> Result<Self, StoreError> {
        let spec = FileSpec::tap(manifest, tap);
        let path = durable::partial(&spec.path(dir));
        let file = File::options().write(true).open(&path).map_err(StoreError::io("open", &path))?;
        Ok(TapFile::new(path, file, &spec, manifest))
    }

    fn new(path: PathBuf, file: File, spec: &FileSpec, manifest: &Manifest) -> Self {
        let row = manifest.spec.d_model * manifest.spec.dtype.bytes();
        TapFile { path, file, data: spec.header().len() as u64, row: row as u64 }
    }

    /// Moves to a row, at which the next write begins.
    pub(crate) fn seek(&mut self, row: usize) -> Result<(), StoreError> {
        let place = SeekFrom::Start(self.data + row as u64 * self.row);
        self.file.seek(place).map(drop).map_err(StoreError::io("seek in", &self.path))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.path))
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))
    }
}

/// Checks that an unfinished file still has its original length and header.
///
/// # Errors
///
/// [`StoreError::FileSize`], [`StoreError::Field`].
pub(crate) fn check(path: &Path, spec: &FileSpec) -> Result<(), StoreError> {
    let mut file = match durable::open_ordinary(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::FileSize { path: path.to_owned(), found: 0, expected: spec.size() });
        }
        other => other.map_err(StoreError::io("open", path))?,
    };
    let found = file.metadata().map_err(StoreError::io("read", path))?.len();
    if found != spec.size() {
        return Err(StoreError::FileSize { path: path.to_owned(), found, expected: spec.size() });
    }
    let expected = spec.header();
    let mut header = vec![0; expected.len()];
    file.read_exact(&mut header).map_err(StoreError::io("read", path))?;
    match header == expected {
        true => Ok(()),
        false => Err(StoreError::Field {
            path: path.to_owned(),
            field: "header".to_owned(),
            found: "changed".to_owned(),
            expected: "the one it was made with".to_owned(),
        }),
    }
}
