//! The weight files of a checkpoint folder.
//!
//! The public part reads the metadata in such files: the [`Header`] of a safetensors file and the [`ShardIndex`] of several.

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
mod other_format;
mod pytorch;
mod quantised;
mod restored;
mod safetensors;
mod save;
mod shard_index;
mod shards;
mod text;
mod values;
mod weights;
mod wrappers;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use memmap2::Mmap;

use self::wrappers::Unwrapped;
pub use self::{
    adapter::AdapterError,
    damage::Damage,
    gguf::{GgufContents, GgufError},
    header::{Header, HeaderError, LONGEST_HEADER, StoredTensor},
    instead::Instead,
    known_hashes::KnownHashes,
    other_format::OtherFormat,
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
    text::read_text,
    weights::{Tie, Weights},
};
use crate::{error::ModelError, families::Stored, format::FloatFormat, note::Note};

/// The weight files of a folder, opened, and every tensor in them.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The path that errors about the whole name: the one file, or the index.
    path: PathBuf,
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Entry>,
    /// That of a GGUF file, which has names of its own for tensors.
    architecture: Option<gguf::Architecture>,
}

/// One file that holds tensors.
#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    values: Values,
    /// The whole file in memory, if a part of it was needed.
    map: OnceLock<Arc<Mmap>>,
}

/// The source of a file's values.
#[derive(Debug)]
enum Values {
    Safetensors(File),
    Pytorch(BTreeMap<String, burn_store::pytorch_reader::Tensor>),
    Gguf(Arc<Mmap>),
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

impl StoredAs {
    /// The format of numbers that are not codes.
    fn plain_format(&self) -> Option<FloatFormat> {
        match self {
            StoredAs::Float(format) => Some(*format),
            StoredAs::Gguf(stored) => stored.plain_format(),
            StoredAs::Restored(_) | StoredAs::Other(_) => None,
        }
    }
}

impl fmt::Display for StoredAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoredAs::Float(float) => write!(f, "{float}"),
            StoredAs::Gguf(stored) => f.write_str(stored.format()),
            StoredAs::Restored(stored) => f.write_str(stored.format()),
            StoredAs::Other(name) if name.starts_with("F8_") => write!(f, "{name} (FP8)"),
            StoredAs::Other(name) => f.write_str(name),
        }
    }
}

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
    pub(crate) fn unwrapped(mut self) -> (Self, Option<Note>) {
        let Some(Unwrapped { own, wrappers, left_out }) =
            wrappers::unwrap(self.tensors.keys().map(String::as_str))
        else {
            return (self, None);
        };
        rename(&mut self.tensors, &own);
        for file in &mut self.files {
            if let Values::Pytorch(tensors) = &mut file.values {
                rename(tensors, &own);
            }
        }
        (self, Some(Note::Unwrapped { wrappers, left_out }))
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

    /// Returns the name that a tensor has in its file.
    fn own_name(&self, name: &str) -> String {
        let own = self.architecture.and_then(|architecture| architecture.own_name(name));
        own.unwrap_or_else(|| name.to_owned())
    }

    /// Checks that a tensor exists and has the shape that the family expects.
    fn check(&self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let entry = self.entry(name, expected)?;
        if entry.shape == expected {
            return Ok(());
        }
        Err(ModelError::TensorShape {
            path: self.files[entry.file].path.clone(),
            tensor: self.own_name(name),
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
                tensor: self.own_name(name),
                found: rows,
                vocab_size,
            }),
            _ => Ok(()),
        }
    }

    fn entry(&self, name: &str, expected: &[usize]) -> Result<&Entry, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
            path: self.path.clone(),
            tensor: self.own_name(name),
            expected: expected.to_owned(),
        })
    }

    /// Returns the format of a tensor of plain numbers.
    fn float_format(&self, name: &str) -> Option<FloatFormat> {
        match self.tensors.get(name)?.stored {
            StoredAs::Float(format) => Some(format),
            StoredAs::Gguf(_) | StoredAs::Restored(_) | StoredAs::Other(_) => None,
        }
    }

    /// Returns whether a tensor is a matrix that can be used where it is in its file.
    fn stays(&self, entry: &Entry) -> bool {
        let [rows, _] = entry.shape[..] else { return false };
        match (&entry.stored, &self.files[entry.file].values) {
            (StoredAs::Float(format), Values::Safetensors(_)) => *format != FloatFormat::F64,
            (StoredAs::Gguf(stored), Values::Gguf(_)) => stored.stays(rows),
            (StoredAs::Restored(_), Values::Safetensors(_)) => true,
            _ => false,
        }
    }

    /// Returns the layout of the matrix of a linear map: that of the family, unless the file has its own.
    fn layout(&self, name: &str, of_family: Stored) -> Stored {
        match self.tensors.get(name).map(|entry| &entry.stored) {
            Some(StoredAs::Restored(restored)) if restored.is_cast() => of_family,
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
}

/// Gives each tensor the name in the table, and removes those that are not there.
fn rename<T>(tensors: &mut BTreeMap<String, T>, names: &BTreeMap<String, String>) {
    let renamed = std::mem::take(tensors).into_iter();
    *tensors = renamed.filter_map(|(name, tensor)| Some((names.get(&name)?.clone(), tensor))).collect();
}
