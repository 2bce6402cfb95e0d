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
    let mut tensors: BTreeMap<String, Entry> = BTreeMap::new();
    let mut seconds = Vec::new();
    for (number, shard) in index.files().into_iter().enumerate() {
        let (file, found) = open_file(&folder.join(shard))?;
        for (name, entry) in found {
            let entry = Entry { file: number, ..entry };
            // A tensor in several shards is read from the one the index names, and from another if it is not there, as in
            // transformers. One that the index does not name at all stays in the table, to be reported as surplus.
            match index.shards().get(&name) {
                Some(named) if named != shard => seconds.push((name, entry)),
                _ => drop(tensors.insert(name, entry)),
            }
        }
        files.push(file);
    }
    // One that the index names and no shard holds is missed only if the model needs it.
    seconds.retain(|(name, entry)| match tensors.contains_key(name) {
        true => true,
        false => tensors.insert(name.clone(), entry.clone()).is_some(),
    });
    refuse_second_values(Checkpoint { path, files, tensors, architecture: None }, seconds)
}

/// Checks that tensors in two shards have the same values in both: transformers takes those of the shard that it loads last.
fn refuse_second_values(
    mut checkpoint: Checkpoint,
    seconds: Vec<(String, Entry)>,
) -> Result<Checkpoint, ModelError> {
    for (tensor, second) in seconds {
        let first = checkpoint.tensors[&tensor].clone();
        let file = |entry: &Entry| {
            let path = &checkpoint.files[entry.file].path;
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        let files = [file(&first), file(&second)];
        checkpoint.tensors.insert(tensor.clone(), second);
        let second_sum = checkpoint.sum_of(&tensor)?;
        checkpoint.tensors.insert(tensor.clone(), first);
        if second_sum != checkpoint.sum_of(&tensor)? {
            return Err(ModelError::Damaged {
                path: checkpoint.path,
                source: Damage::TwoValues { tensor, files },
            });
        }
    }
    Ok(checkpoint)
}

/// Reads an index whose shards all exist.
fn read_index(folder: &Path, path: &Path) -> Result<ShardIndex, ModelError> {
    let index = ShardIndex::parse(read_text(path)?.as_bytes()).map_err(|error| match error {
        ShardIndexError::Json(source) => ModelError::Json { path: path.to_owned(), source },
        ShardIndexError::OutsideFolder { tensor, shard } => {
            ModelError::UnsafeShard { index: path.to_owned(), tensor, shard }
        }
    })?;
    let missing = index.files().into_iter().filter(|shard| !folder.join(shard).is_file());
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    match index.shards().iter().find(|(_, shard)| missing.first() == Some(shard)) {
        None => Ok(index),
        Some((tensor, shard)) => Err(ModelError::MissingShard {
            index: path.to_owned(),
            tensor: tensor.clone(),
            shard: shard.clone(),
            others: missing[1..].to_vec(),
        }),
    }
}
