//! Weights in safetensors files, one or several.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use safetensors::Dtype;

use super::{
    Checkpoint, Damage, Entry, Header, ShardIndex, ShardIndexError, StoredAs, StoredTensor, Values,
    WeightFile, read_text,
};
use crate::{error::ModelError, format::FloatFormat};

/// Opens a checkpoint in one file.
pub(super) fn open_single(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let (file, header) = open_file(&path)?;
    let tensors = header.tensors().iter().map(|(name, tensor)| (name.clone(), entry(tensor, 0))).collect();
    Ok(Checkpoint { path, files: vec![file], tensors })
}

/// Opens the shards that an index names, and no other file.
pub(super) fn open_shards(folder: &Path, path: PathBuf) -> Result<Checkpoint, ModelError> {
    let index = read_index(folder, &path)?;
    let mut files = Vec::new();
    let mut tensors = BTreeMap::new();
    for (number, shard) in index.files().into_iter().enumerate() {
        let (file, header) = open_file(&folder.join(shard))?;
        for (name, tensor) in header.tensors() {
            // A tensor in several shards is read from the one the index names. One that the index does not name at all
            // stays in the table, to be reported as surplus.
            if index.shards().get(name).is_none_or(|named| named == shard) {
                tensors.insert(name.clone(), entry(tensor, number));
            }
        }
        files.push(file);
    }
    match index.shards().iter().find(|(tensor, _)| !tensors.contains_key(*tensor)) {
        None => Ok(Checkpoint { path, files, tensors }),
        Some((tensor, shard)) => Err(ModelError::Damaged {
            path: folder.join(shard),
            source: Damage::MissingFromShard { tensor: tensor.clone() },
        }),
    }
}

/// Reads an index whose shards all exist.
fn read_index(folder: &Path, path: &Path) -> Result<ShardIndex, ModelError> {
    let index = ShardIndex::parse(read_text(path)?.as_bytes()).map_err(|error| match error {
        ShardIndexError::Json(source) => ModelError::Json { path: path.to_owned(), source },
        ShardIndexError::OutsideFolder { tensor, shard } => {
            ModelError::UnsafeShard { index: path.to_owned(), tensor, shard }
        }
    })?;
    match index.shards().iter().find(|(_, shard)| !folder.join(shard).is_file()) {
        None => Ok(index),
        Some((tensor, shard)) => Err(ModelError::MissingShard {
            index: path.to_owned(),
            tensor: tensor.clone(),
            shard: shard.clone(),
        }),
    }
}

fn open_file(path: &Path) -> Result<(WeightFile, Header), ModelError> {
    let file = File::open(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let header = Header::read(&file)
        .map_err(|error| ModelError::Damaged { path: path.to_owned(), source: Damage::Header(error) })?;
    Ok((WeightFile { path: path.to_owned(), values: Values::Safetensors(file) }, header))
}

fn entry(tensor: &StoredTensor, file: usize) -> Entry {
    let stored = match tensor.dtype {
        Dtype::F32 => StoredAs::Float(FloatFormat::F32),
        Dtype::F16 => StoredAs::Float(FloatFormat::F16),
        Dtype::BF16 => StoredAs::Float(FloatFormat::Bf16),
        other => StoredAs::Other(other.to_string()),
    };
    Entry { file, stored, shape: tensor.shape.clone(), begin: tensor.bytes.start }
}
