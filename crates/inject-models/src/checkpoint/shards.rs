//! A checkpoint in several files, by its index.

use std::{collections::BTreeMap, path::Path};

use super::{Checkpoint, Damage, Entry, ShardIndex, ShardIndexError, WeightFile, read_text};
use crate::error::ModelError;

/// A weight file, opened, and its tensors. Their numbers of the file are zero.
pub(super) type Opened = (WeightFile, BTreeMap<String, Entry>);

/// Opens the shards that an index names, and no other file.
pub(super) fn open(
    folder: &Path,
    index: &Path,
    open_file: impl Fn(&Path) -> Result<Opened, ModelError>,
) -> Result<Checkpoint, ModelError> {
    let path = index.to_owned();
    let index = read_index(folder, index)?;
    let mut files = Vec::new();
    let mut tensors = BTreeMap::new();
    for (number, shard) in index.files().into_iter().enumerate() {
        let (file, found) = open_file(&folder.join(shard))?;
        for (name, entry) in found {
            // A tensor in several shards is read from the one the index names. One that the index does not name at all
            // stays in the table, to be reported as surplus.
            if index.shards().get(&name).is_none_or(|named| named == shard) {
                tensors.insert(name, Entry { file: number, ..entry });
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
