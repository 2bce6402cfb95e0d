//! The files of this crate, lenses and calibrations: tensors and texts in one safetensors file, with their checksums.

mod checksums;

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, Write},
    iter,
    path::{Path, PathBuf},
};

use half::f16;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    models::checkpoint::{Header, HeaderError, StoredTensor},
    states::durable::{self, FileError},
};

/// The size in bytes of the number that gives the length of a safetensors header.
const HEADER_LEN: u64 = 8;

/// The fault of a file of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFileError {
    /// The file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// Path of the file of tensors.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not a safetensors file, or was cut off.
    #[error("{} is not a whole safetensors file", path.display())]
    Header {
        /// Path of the file of tensors.
        path: PathBuf,
        /// The fault in the header.
        source: HeaderError,
    },
    /// The file is not of the expected kind, or is damaged.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// Path of the file of tensors.
        path: PathBuf,
        /// The content that was found, and the content that was expected.
        reason: String,
    },
    /// A part of the file changed after it was written.
    #[error("{}: {part} does not agree with its checksum: the file was damaged after it was written", path.display())]
    Damaged {
        /// Path of the file of tensors.
        path: PathBuf,
        /// The part: a tensor, or the header.
        part: String,
    },
}

impl TensorFileError {
    /// Returns whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, TensorFileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn malformed(path: &Path, reason: String) -> Self {
        TensorFileError::Malformed { path: path.to_owned(), reason }
    }
}

/// A tensor that is written to a file.
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) bytes: Vec<u8>,
}

/// Writes a file in one step, with checksums. The same content always gives the same bytes.
pub(crate) fn write(
    path: &Path,
    metadata: BTreeMap<&str, String>,
    stored: &[Stored],
) -> Result<(), TensorFileError> {
    let header = header(&checksums::added(metadata, stored), stored);
    let written = durable::replace_with(path, |out| {
        let mut pieces = iter::once(&header).chain(stored.iter().map(|stored| &stored.bytes));
        pieces.try_for_each(|bytes| out.write_all(bytes)).map_err(FileError::of("write", path))
    });
    written.map_err(|FileError { path, source, .. }| TensorFileError::Io { path, source })
}

/// Returns the bytes before the tensors: the length of the JSON header, and the header. The serializer of the safetensors crate is
/// not used, because it writes the metadata in a different order each time.
fn header(metadata: &BTreeMap<String, String>, stored: &[Stored]) -> Vec<u8> {
    let json = |value: serde_json::Result<Value>| value.expect("JSON can hold names and numbers");
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json(serde_json::to_value(metadata)));
    let mut begin = 0;
    for Stored { name, shape, dtype, bytes } in stored {
        let end = begin + bytes.len();
        let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (begin, end) };
        header.insert(name.clone(), json(serde_json::to_value(info)));
        begin = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(HEADER_LEN as usize), b' ');
    [(text.len() as u64).to_le_bytes().as_slice(), &text].concat()
}

/// A file of tensors in memory, whose header was checked.
pub(crate) struct TensorFile {
    path: PathBuf,
    header: Header,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file. It may have at most `largest` bytes, if that is given.
    pub(crate) fn open(path: &Path, largest: Option<u64>) -> Result<Self, TensorFileError> {
        let failed = |source| TensorFileError::Io { path: path.to_owned(), source };
        let mut file = durable::open_ordinary(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if let Some(largest) = largest.filter(|&largest| len > largest) {
            let reason = format!("it has {len} bytes, expected at most {largest}");
            return Err(TensorFileError::malformed(path, reason));
        }
        let of_header = |source| TensorFileError::Header { path: path.to_owned(), source };
        let header = Header::read(&file).map_err(of_header)?;
        let end = header.tensors().values().map(|tensor| tensor.bytes.end).max().unwrap_or(0);
        // The reading of the header moves the cursor on some systems.
        file.rewind().map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(end).read_to_end(&mut bytes).map_err(failed)?;
        // Another program may have cut it off meanwhile.
        match bytes.len() as u64 == end {
            true => Ok(TensorFile { path: path.to_owned(), header, bytes }),
            false => Err(failed(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Fails unless the text `kind` is `version`.
    pub(crate) fn expect_version(self, kind: &str, version: &str) -> Result<Self, TensorFileError> {
        let found = self.find(kind).unwrap_or("none");
        match found == version {
            true => Ok(self),
            false => Err(self.wrong(format!("{kind} is {found}, expected version {version}"))),
        }
    }

    /// Fails if a part of the file does not agree with its checksum. The files of older versions have none.
    pub(crate) fn verified(self) -> Result<Self, TensorFileError> {
        match checksums::damaged(&self) {
            None => Ok(self),
            Some(part) => Err(TensorFileError::Damaged { path: self.path, part }),
        }
    }

    /// Returns whether the file has checksums, as all but those of older versions have.
    pub(crate) fn has_checksums(&self) -> bool {
        self.find(checksums::HEADER).is_some()
    }

    pub(crate) fn wrong(&self, reason: String) -> TensorFileError {
        TensorFileError::malformed(&self.path, reason)
    }

    /// Returns a text of the metadata, if the file has it.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.header.metadata().get(name).map(String::as_str)
    }

    /// Returns a text of the metadata.
    pub(crate) fn text(&self, name: &str) -> Result<&str, TensorFileError> {
        self.find(name).ok_or_else(|| self.wrong(format!("{name} is missing")))
    }

    /// Returns a text of the metadata as the JSON of a value.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, TensorFileError> {
        serde_json::from_str(self.text(name)?).map_err(|error| self.wrong(format!("{name}: {error}")))
    }

    /// Returns the tensors by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        self.header.tensors()
    }

    /// Returns the bytes of a tensor of this file.
    fn data(&self, tensor: &StoredTensor) -> &[u8] {
        &self.bytes[tensor.bytes.start as usize..tensor.bytes.end as usize]
    }

    /// Returns the place and form of a tensor, which must exist.
    fn tensor(&self, name: &str) -> Result<&StoredTensor, TensorFileError> {
        self.tensors().get(name).ok_or_else(|| self.wrong(format!("{name} is missing")))
    }

    /// Returns the finite values of a tensor of F16 or F32 with `rows` rows, and the number of its columns.
    pub(crate) fn matrix(
        &self,
        name: &str,
        dtype: Dtype,
        rows: usize,
    ) -> Result<(Vec<f32>, usize), TensorFileError> {
        let tensor = self.tensor(name)?;
        let (shape, found) = (&tensor.shape, tensor.dtype);
        let &[found_rows, columns] = &shape[..] else {
            return Err(self.wrong(format!("{name} has shape {shape:?}, expected {rows} rows")));
        };
        if found_rows != rows || columns == 0 || found != dtype {
            let reason = format!("{name} is {found:?} {shape:?}, expected {dtype:?} with {rows} rows");
            return Err(self.wrong(reason));
        }
        let data = self.data(tensor);
        let values: Vec<f32> = match dtype {
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            _ => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        };
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok((values, columns)),
            Some(value) => Err(self.wrong(format!("{name} holds {value}, expected finite values"))),
        }
    }

    /// Returns the finite values of a tensor of F64.
    pub(crate) fn vector(&self, name: &str) -> Result<Vec<f64>, TensorFileError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype != Dtype::F64 {
            return Err(self.wrong(format!("{name} is {:?}, expected F64", tensor.dtype)));
        }
        let values: Vec<f64> =
            self.data(tensor).as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) => Err(self.wrong(format!("{name} holds {value}, expected finite values"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn numbers(name: &str, values: &[f64]) -> Stored {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Stored { name: name.to_owned(), shape: vec![values.len()], dtype: Dtype::F64, bytes }
    }

    #[test]
    fn numbers_and_texts_come_back_and_the_same_content_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let [path, again] = ["a", "b"].map(|name| dir.path().join(name));
        let metadata = BTreeMap::from([("kind", "1".to_owned()), ("about", "[1, 2]".to_owned())]);
        for path in [&path, &again] {
            write(path, metadata.clone(), &[numbers("x", &[0.1, -2.0])]).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
        let file = TensorFile::open(&path, Some(1000)).unwrap().expect_version("kind", "1").unwrap();
        assert_eq!(file.vector("x").unwrap(), [0.1, -2.0]);
        assert_eq!(file.json::<Vec<u8>>("about").unwrap(), [1, 2]);
    }

    #[test]
    fn a_missing_file_is_told_from_one_that_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let open = || TensorFile::open(&path, Some(1000)).err().unwrap();
        assert!(open().is_missing());
        write(&path, BTreeMap::new(), &[numbers("x", &[0.5; 200])]).unwrap();
        let error = open();
        assert!(!error.is_missing());
        assert!(error.to_string().ends_with("expected at most 1000"), "{error}");
    }

    #[test]
    fn numbers_of_another_format_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, BTreeMap::new(), &[Stored { dtype: Dtype::I64, ..numbers("x", &[1.0]) }]).unwrap();
        let error = TensorFile::open(&path, None).unwrap().vector("x").unwrap_err();
        assert!(error.to_string().ends_with("x is I64, expected F64"), "{error}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, BTreeMap::new(), &[numbers("x", &[1.0, f64::NAN])]).unwrap();
        let error = TensorFile::open(&path, None).unwrap().vector("x").unwrap_err();
        assert!(error.to_string().ends_with("x holds NaN, expected finite values"), "{error}");
    }
}
