//! The weight files of a checkpoint folder.
//!
//! The public part reads what stands in such files beside the values: the [`Header`] of a safetensors file and the
//! [`ShardIndex`] of several.

// Inside the crate, a checkpoint is a table of tensors whose values are streamed: they are read in pieces and converted on the
// way, so that a tensor exists in memory once, in the form the decoder uses, however it is stored. The files are read
// and not mapped, because mapped pages would count as memory used.

mod adapter;
mod damage;
mod gguf;
mod header;
mod identity;
mod instead;
mod known_hashes;
mod lfs;
mod pytorch;
mod quantised;
mod restored;
mod safetensors;
mod save;
mod shard_index;
mod shards;
mod weights;
mod wrappers;

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use self::wrappers::Unwrapped;
pub use self::{
    adapter::AdapterError,
    damage::Damage,
    gguf::GgufError,
    header::{Header, HeaderError, LONGEST_HEADER, StoredTensor},
    instead::Instead,
    known_hashes::KnownHashes,
    shard_index::{ShardIndex, ShardIndexError},
};
pub(crate) use self::{
    adapter::{Adapter, Factors, Module, hash_with_adapter},
    gguf::Gguf,
    identity::{file_hash, weight_hash},
    instead::{HubSnapshot, base_of_adapter, hub_snapshot},
    lfs::refuse_pointer,
    quantised::{dequantised, unread_method},
    save::WeightWriter,
    weights::Weights,
};
use crate::{error::ModelError, families::Stored, format::FloatFormat, note::Note, precision::Hold};

/// The weight files of a folder, opened, and every tensor in them.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The path that errors about the whole name: the one file, or the index.
    path: PathBuf,
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Entry>,
}

/// One file that holds tensors.
#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    values: Values,
    /// The whole file in memory, if a part of it was needed.
    map: OnceLock<Arc<Mmap>>,
}

/// A matrix of plain numbers where it is in its file.
struct Place {
    format: FloatFormat,
    shape: [usize; 2],
    map: Arc<Mmap>,
    /// Offset in the file of the first element.
    begin: usize,
}

/// The source of a file's values.
#[derive(Debug)]
enum Values {
    Safetensors(File),
    Pytorch(BTreeMap<String, burn_store::pytorch_reader::Tensor>),
    Gguf(Mmap),
}

/// One tensor as its file describes it.
#[derive(Clone, Debug)]
struct Entry {
    file: usize,
    stored: StoredAs,
    shape: Vec<usize>,
    /// Position of the first byte within a safetensors file.
    begin: u64,
}

/// The number format of a stored tensor.
#[derive(Clone, Debug)]
enum StoredAs {
    /// F32, F16, BF16 or F64.
    Float(FloatFormat),
    /// The blocks of a GGUF file.
    Gguf(gguf::Stored),
    /// Codes with scales beside them.
    Restored(Box<restored::Restored>),
    /// Another format, by its name in the file. It is accepted as long as the decoder does not need the tensor.
    Other(String),
}

impl fmt::Display for StoredAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoredAs::Float(float) => write!(f, "{float}"),
            StoredAs::Gguf(stored) => f.write_str(stored.format()),
            StoredAs::Restored(stored) => f.write_str(stored.format()),
            StoredAs::Other(name) => f.write_str(name),
        }
    }
}

/// Values in one piece of a stream: enough to read fast, and few beside any weight matrix.
const PIECE: usize = 1 << 18;

impl Checkpoint {
    /// Opens the weights in a folder, or in a GGUF file.
    ///
    /// In a folder these are `model.safetensors`, or else the shards of `model.safetensors.index.json`, or else
    /// `pytorch_model.bin`, or else the shards of `pytorch_model.bin.index.json`. Other files are ignored.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        if let Some(path) = Gguf::find(folder) {
            return Gguf::open(path)?.checkpoint();
        }
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let pickled = folder.join("pytorch_model.bin");
        let pickled_index = folder.join("pytorch_model.bin.index.json");
        if single.is_file() {
            safetensors::open_single(single)
        } else if index.is_file() {
            shards::open(folder, &index, safetensors::open_file)
        } else if pickled.is_file() {
            pytorch::open(pickled)
        } else if pickled_index.is_file() {
            shards::open(folder, &pickled_index, pytorch::open_file)
        } else {
            let folder = folder.to_owned();
            Err(match Instead::look(&folder) {
                Some(found) => ModelError::Instead { folder, found },
                None => ModelError::NoWeights { folder },
            })
        }
    }

    /// Takes the names of wrappers off the names of tensors, and notes these wrappers.
    pub(crate) fn unwrapped(self) -> (Self, Option<Note>) {
        let Unwrapped { tensors, wrappers, left_out } = wrappers::unwrap(self.tensors);
        if wrappers.is_empty() {
            return (Checkpoint { tensors, ..self }, None);
        }
        let files = self.files.into_iter().map(WeightFile::unwrapped).collect();
        (Checkpoint { tensors, files, ..self }, Some(Note::Unwrapped { wrappers, left_out }))
    }

    /// Checks that no tensor belongs to an adapter that is to be added to the others.
    pub(crate) fn refuse_unmerged(&self) -> Result<(), ModelError> {
        match self.tensors.iter().find(|(name, _)| name.contains(".lora_A.")) {
            None => Ok(()),
            Some((tensor, entry)) => Err(ModelError::Unmerged {
                path: self.files[entry.file].path.clone(),
                tensor: tensor.clone(),
            }),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Checks that a tensor exists and has the shape that the family expects.
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

    /// Checks that a table of tokens has no more rows than the vocabulary.
    fn refuse_padding(&self, name: &str, [vocab_size, d_model]: [usize; 2]) -> Result<(), ModelError> {
        let Some(entry) = self.tensors.get(name) else { return Ok(()) };
        match entry.shape[..] {
            [rows, width] if width == d_model && rows > vocab_size => Err(ModelError::PaddedVocabulary {
                path: self.files[entry.file].path.clone(),
                tensor: name.to_owned(),
                found: rows,
                vocab_size,
            }),
            _ => Ok(()),
        }
    }

    /// Returns whether two tensors have other shapes or values.
    ///
    /// # Panics
    ///
    /// Panics if one of them is not in the checkpoint.
    fn differ(&self, a: &str, b: &str) -> Result<bool, ModelError> {
        if self.tensors[a].shape != self.tensors[b].shape {
            return Ok(true);
        }
        let sums = |name: &str| {
            let mut hasher = Sha256::new();
            self.stream(name, 1, |_, piece| {
                for value in piece {
                    hasher.update(value.to_le_bytes());
                }
            })?;
            Ok::<_, ModelError>(hasher.finalize())
        };
        Ok(sums(a)? != sums(b)?)
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
    /// Panics if the tensor is not in the checkpoint: check it first.
    fn stream(&self, name: &str, row: usize, mut sink: impl FnMut(usize, &[f32])) -> Result<(), ModelError> {
        let entry = &self.tensors[name];
        let file = &self.files[entry.file];
        let io_error = |source| ModelError::Read { path: file.path.clone(), source };
        let mut checked = |first: usize, values: &[f32]| {
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
        let float = match (&entry.stored, &file.values) {
            (StoredAs::Gguf(stored), Values::Gguf(map)) => {
                return stored.stream(map, &entry.shape, PIECE, checked);
            }
            (StoredAs::Restored(stored), _) => {
                return stored.stream(self, &entry.shape, PIECE.next_multiple_of(row), checked);
            }
            (StoredAs::Float(float), _) => *float,
            (StoredAs::Other(_) | StoredAs::Gguf(_), _) => {
                return Err(ModelError::TensorDtype {
                    path: file.path.clone(),
                    tensor: name.to_owned(),
                    found: entry.stored.to_string(),
                });
            }
        };
        let size = float.bytes();
        let len = entry.shape.iter().product::<usize>();
        let piece = PIECE.next_multiple_of(row);
        let mut converted = vec![0_f32; piece.min(len)];
        let mut pass_on = |first: usize, bytes: &[u8]| {
            let values = &mut converted[..bytes.len() / size];
            float.decode(bytes, values);
            checked(first, values)
        };
        match &file.values {
            Values::Safetensors(handle) => {
                let mut bytes = vec![0_u8; piece.min(len) * size];
                for first in (0..len).step_by(piece) {
                    let bytes = &mut bytes[..piece.min(len - first) * size];
                    header::read_at(handle, bytes, entry.begin + (first * size) as u64).map_err(io_error)?;
                    pass_on(first, bytes)?;
                }
                Ok(())
            }
            Values::Pytorch(reader) => {
                let tensor = reader.get(name).ok_or_else(|| ModelError::Damaged {
                    path: file.path.clone(),
                    source: Damage::Lost { tensor: name.to_owned() },
                })?;
                let bytes = tensor.read().map_err(io_error)?;
                if bytes.len() != len * size {
                    return Err(ModelError::Damaged {
                        path: file.path.clone(),
                        source: Damage::Size {
                            tensor: name.to_owned(),
                            found: bytes.len(),
                            expected: len * size,
                        },
                    });
                }
                bytes.chunks(piece * size).enumerate().try_for_each(|(i, bytes)| pass_on(i * piece, bytes))
            }
            Values::Gguf(_) => unreachable!("no other tensors are in a GGUF file"),
        }
    }

    /// Returns the format of a tensor of plain numbers.
    fn float_format(&self, name: &str) -> Option<FloatFormat> {
        match self.tensors.get(name)?.stored {
            StoredAs::Float(format) => Some(format),
            StoredAs::Gguf(_) | StoredAs::Restored(_) | StoredAs::Other(_) => None,
        }
    }

    /// Returns the size of the tensors that are not left in their files.
    pub(crate) fn bytes_as_tensors(&self, hold: Hold, compute: FloatFormat) -> u64 {
        let bytes = |entry: &Entry| {
            let is_plain_matrix = entry.shape.len() == 2
                && matches!(self.files[entry.file].values, Values::Safetensors(_))
                && matches!(entry.stored, StoredAs::Float(format) if format != FloatFormat::F64);
            let held = match (hold, &entry.stored) {
                (Hold::Mapped, _) if is_plain_matrix => 0,
                (Hold::Stored, StoredAs::Float(format)) => format.bytes().min(compute.bytes()),
                _ => compute.bytes(),
            };
            entry.shape.iter().map(|&len| len as u64).product::<u64>() * held as u64
        };
        self.tensors.values().map(bytes).sum()
    }

    /// Maps the file of a matrix and returns the place of its numbers, if they are plain numbers in a safetensors file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be mapped.
    fn mapped(&self, name: &str) -> Result<Option<Place>, ModelError> {
        let (Some(entry), Some(format)) = (self.tensors.get(name), self.float_format(name)) else {
            return Ok(None);
        };
        let file = &self.files[entry.file];
        let (Values::Safetensors(handle), [rows, width]) = (&file.values, &entry.shape[..]) else {
            return Ok(None);
        };
        let map = match file.map.get() {
            Some(map) => Arc::clone(map),
            None => {
                // SAFETY: the map is only read. That no other program truncates or rewrites the file as long as the model exists
                // is the documented condition of `Hold::Mapped`.
                let map = unsafe { Mmap::map(handle) }
                    .map_err(|source| ModelError::Read { path: file.path.clone(), source })?;
                Arc::clone(file.map.get_or_init(|| Arc::new(map)))
            }
        };
        // The header was checked against the length of the file as it was then.
        let end = entry.begin + (rows * width * format.bytes()) as u64;
        if end > map.len() as u64 {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter");
            return Err(ModelError::Read { path: file.path.clone(), source });
        }
        Ok(Some(Place { format, shape: [*rows, *width], map, begin: entry.begin as usize }))
    }

    /// Returns the layout of the matrix of a linear map: that of the family, unless the file has its own.
    fn layout(&self, name: &str, of_family: Stored) -> Stored {
        match self.tensors.get(name).map(|entry| &entry.stored) {
            // Both transpose the matrices of GPT-2.
            Some(StoredAs::Gguf(_) | StoredAs::Restored(_)) => Stored::OutIn,
            _ => of_family,
        }
    }
}

impl WeightFile {
    fn new(path: PathBuf, values: Values) -> Self {
        WeightFile { path, values, map: OnceLock::new() }
    }

    /// The same file with the names of wrappers taken off.
    fn unwrapped(self) -> Self {
        match self.values {
            Values::Pytorch(tensors) => {
                let values = Values::Pytorch(wrappers::unwrap(tensors).tensors);
                WeightFile { path: self.path, values, map: self.map }
            }
            values @ (Values::Safetensors(_) | Values::Gguf(_)) => {
                WeightFile { path: self.path, values, map: self.map }
            }
        }
    }
}

/// The longest `config.json` or index of shards that is read, in bytes. The index of 60 thousand tensors has some 6 MB.
const LONGEST_TEXT: u64 = 32 << 20;

/// Reads an ordinary file as text, if it is not longer than [`LONGEST_TEXT`]. A pipe could keep its reader waiting for ever.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let read_error = |source| ModelError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    if !fs::metadata(path).map_err(read_error)?.is_file() {
        let reason = "expected an ordinary file, found a folder, a device or a pipe";
        return Err(read_error(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let mut file = File::open(path).map_err(read_error)?.take(LONGEST_TEXT + 1);
    file.read_to_string(&mut text).map_err(read_error)?;
    lfs::refuse_pointer(path)?;
    if text.len() as u64 > LONGEST_TEXT {
        let reason = format!("more than {LONGEST_TEXT} bytes");
        return Err(read_error(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(text)
}
