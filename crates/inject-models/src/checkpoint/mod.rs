//! The weight files of a checkpoint folder: a table of tensors, and their values as a stream.
//!
//! Values are read in pieces and converted on the way, so that a tensor exists in memory once, in the form the
//! decoder uses, however it is stored. The files are read, not mapped: mapped pages would count as memory used.

mod pytorch;
mod safetensors;
mod save;
mod weights;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use sha2::{Digest, Sha256};

pub use self::save::WeightDtype;
pub(crate) use self::{save::WeightWriter, weights::Weights};
use crate::ModelError;

/// The weight files of a folder, opened, and every tensor in them.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// What errors about the whole name: the one file, or the index.
    path: PathBuf,
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Entry>,
}

/// One file that holds tensors.
#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    values: Values,
}

/// Where the values of a file come from.
#[derive(Debug)]
enum Values {
    Safetensors(File),
    Pytorch(burn_store::pytorch_reader::PytorchReader),
}

/// One tensor as the file describes it.
#[derive(Clone, Debug)]
struct Entry {
    file: usize,
    dtype: StoredDtype,
    shape: Vec<usize>,
    /// Position of the first byte within a safetensors file.
    begin: u64,
}

/// The number format of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StoredDtype {
    F32,
    F16,
    Bf16,
    /// Anything else, by name. It may be in the file as long as nobody needs it.
    Other(String),
}

impl StoredDtype {
    /// Bytes a value, for the formats that are supported.
    fn size(&self) -> Option<usize> {
        match self {
            StoredDtype::F32 => Some(4),
            StoredDtype::F16 | StoredDtype::Bf16 => Some(2),
            StoredDtype::Other(_) => None,
        }
    }
}

/// How many values one piece of a stream holds: large enough to read fast, small beside any weight matrix.
const PIECE: usize = 1 << 18;

impl Checkpoint {
    /// Opens the weights in a folder: `model.safetensors`, else the shards of `model.safetensors.index.json`,
    /// else `pytorch_model.bin`. Other files are not looked at.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoWeights`], or what is wrong with the files.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let pickled = folder.join("pytorch_model.bin");
        if single.is_file() {
            safetensors::open_single(single)
        } else if index.is_file() {
            safetensors::open_shards(folder, index)
        } else if pickled.is_file() {
            pytorch::open(pickled)
        } else {
            Err(ModelError::NoWeights { folder: folder.to_owned() })
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, checked against what the family expects.
    fn check(&self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let entry = self.entry(name, expected)?;
        if entry.shape == expected {
            return Ok(());
        }
        Err(ModelError::TensorShape {
            path: self.files[entry.file].path.clone(),
            tensor: name.to_owned(),
            found: entry.shape.clone(),
            expected: expected.to_owned(),
        })
    }

    fn entry(&self, name: &str, expected: &[usize]) -> Result<&Entry, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// Passes all values of a tensor to `sink`, in row-major order, in pieces of whole rows of `row` values, each
    /// with the number of its first value.
    ///
    /// # Panics
    ///
    /// If the tensor is not in the checkpoint: check it first.
    fn stream(&self, name: &str, row: usize, mut sink: impl FnMut(usize, &[f32])) -> Result<(), ModelError> {
        let entry = &self.tensors[name];
        let file = &self.files[entry.file];
        let size = entry.dtype.size().ok_or_else(|| ModelError::TensorDtype {
            path: file.path.clone(),
            tensor: name.to_owned(),
            found: match &entry.dtype {
                StoredDtype::Other(found) => found.clone(),
                known => format!("{known:?}"),
            },
        })?;
        let len = entry.shape.iter().product::<usize>();
        let piece = (PIECE / row).max(1) * row;
        let mut converted = vec![0_f32; piece.min(len)];
        let mut pass_on = |first: usize, bytes: &[u8]| {
            let values = &mut converted[..bytes.len() / size];
            convert(&entry.dtype, bytes, values);
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite {
                    path: file.path.clone(),
                    tensor: name.to_owned(),
                    element: first + at,
                    found: f64::from(values[at]),
                });
            }
            sink(first, values);
            Ok(())
        };
        let io_error = |source| ModelError::Io { path: file.path.clone(), source };
        match &file.values {
            Values::Safetensors(handle) => {
                let mut bytes = vec![0_u8; piece.min(len) * size];
                for first in (0..len).step_by(piece) {
                    let bytes = &mut bytes[..piece.min(len - first) * size];
                    safetensors::read_at(handle, bytes, entry.begin + (first * size) as u64)
                        .map_err(io_error)?;
                    pass_on(first, bytes)?;
                }
                Ok(())
            }
            Values::Pytorch(reader) => {
                let tensor = reader.get(name).ok_or_else(|| ModelError::Damaged {
                    path: file.path.clone(),
                    reason: format!("tensor `{name}` is listed and cannot be found"),
                })?;
                let bytes = tensor.read().map_err(io_error)?;
                bytes.chunks(piece * size).enumerate().try_for_each(|(i, bytes)| pass_on(i * piece, bytes))
            }
        }
    }
}

/// Values of a stored format, little-endian, as f32: exact for all three formats.
fn convert(dtype: &StoredDtype, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        StoredDtype::F32 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        StoredDtype::F16 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16::from_le_bytes(*raw).to_f32();
            }
        }
        StoredDtype::Bf16 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(*raw).to_f32();
            }
        }
        StoredDtype::Other(_) => unreachable!("refused by size() before anything is read"),
    }
}

/// The SHA-256 of the weights in a folder, in hexadecimal: of the one weight file itself (so it equals the
/// checksum the Hub shows), or, for several shards, of their sorted `name:checksum` lines.
///
/// # Errors
///
/// As [`Checkpoint::open`], and when a file cannot be read.
pub(crate) fn weight_hash(folder: &Path) -> Result<String, ModelError> {
    let mut paths: Vec<PathBuf> = Checkpoint::open(folder)?.files.into_iter().map(|file| file.path).collect();
    paths.sort();
    if let [path] = paths.as_slice() {
        return file_hash(path);
    }
    let mut lines = String::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines += &format!("{name}:{}\n", file_hash(path)?);
    }
    Ok(hex(&Sha256::digest(lines.as_bytes())))
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn file_hash(path: &Path) -> Result<String, ModelError> {
    let io_error = |source| ModelError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io_error)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    fs::read_to_string(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
