//! Weights in safetensors files, one or several.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorInfo};

use super::{Checkpoint, Entry, StoredDtype, Values, WeightFile, read_text};
use crate::ModelError;

/// Opens a checkpoint in one file.
pub(super) fn open_single(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let (file, infos) = open_file(&path)?;
    let tensors = infos.into_iter().map(|(name, info)| (name, info.into_entry(0))).collect();
    Ok(Checkpoint { path, files: vec![file], tensors })
}

/// The part of an index file that matters.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the shards that an index names, and no other file.
pub(super) fn open_shards(folder: &Path, index: PathBuf) -> Result<Checkpoint, ModelError> {
    let Index { weight_map } = serde_json::from_str(&read_text(&index)?)
        .map_err(|source| ModelError::Json { path: index.clone(), source })?;
    for (tensor, shard) in &weight_map {
        check_shard(folder, &index, tensor, shard)?;
    }
    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::new();
    let mut tensors = BTreeMap::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let (file, infos) = open_file(&folder.join(shard))?;
        for (name, info) in infos {
            // A tensor in several shards is read from the one the index names. One that the index does not name
            // at all stays in the table, to be reported as surplus.
            if weight_map.get(&name).is_none_or(|named| named == shard) {
                tensors.insert(name, info.into_entry(number));
            }
        }
        files.push(file);
    }
    if let Some((tensor, shard)) = weight_map.iter().find(|(tensor, _)| !tensors.contains_key(*tensor)) {
        return Err(ModelError::Damaged {
            path: folder.join(shard),
            reason: format!("the index says that tensor `{tensor}` is here, and it is not"),
        });
    }
    Ok(Checkpoint { path: index, files, tensors })
}

fn check_shard(folder: &Path, index: &Path, tensor: &str, shard: &str) -> Result<(), ModelError> {
    let plain = !shard.is_empty() && !shard.contains(['/', '\\', ':', '\0']) && shard != "." && shard != "..";
    if !plain {
        return Err(ModelError::UnsafeShard {
            index: index.to_owned(),
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
        });
    }
    if !folder.join(shard).is_file() {
        return Err(ModelError::MissingShard {
            index: index.to_owned(),
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
        });
    }
    Ok(())
}

/// A tensor's place in one file.
struct Info {
    dtype: StoredDtype,
    shape: Vec<usize>,
    begin: u64,
}

impl Info {
    fn into_entry(self, file: usize) -> Entry {
        Entry { file, dtype: self.dtype, shape: self.shape, begin: self.begin }
    }
}

/// Opens one file and checks its header against its length: offsets inside the file, without gaps, shapes that
/// match them.
fn open_file(path: &Path) -> Result<(WeightFile, Vec<(String, Info)>), ModelError> {
    let io_error = |source| ModelError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    if length == 0 {
        // An empty file cannot be mapped.
        return Err(ModelError::Damaged { path: path.to_owned(), reason: "the file is empty".to_owned() });
    }
    // SAFETY: the map is read-only, lives for this function only, and nothing is kept of it but owned copies. A file
    // that another process shortens meanwhile would fault, as for every user of mapped files.
    let map = unsafe { Mmap::map(&file) }.map_err(io_error)?;
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| ModelError::Damaged {
        path: path.to_owned(),
        reason: format!("{error} (the file has {length} bytes)"),
    })?;
    let data_begin = 8 + header as u64;
    let infos = metadata.tensors().into_iter().map(|(name, info)| (name, place(info, data_begin))).collect();
    Ok((WeightFile { path: path.to_owned(), values: Values::Safetensors(file) }, infos))
}

fn place(info: &TensorInfo, data_begin: u64) -> Info {
    let dtype = match info.dtype {
        Dtype::F32 => StoredDtype::F32,
        Dtype::F16 => StoredDtype::F16,
        Dtype::BF16 => StoredDtype::Bf16,
        other => StoredDtype::Other(format!("{other:?}")),
    };
    Info { dtype, shape: info.shape.clone(), begin: data_begin + info.data_offsets.0 as u64 }
}

/// Fills `bytes` from a position of the file, without moving a shared cursor where the system allows it.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` from a position of the file.
#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}
