//! The index of a checkpoint in several files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The index of a sharded checkpoint: the file that holds each tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    shards: BTreeMap<String, String>,
}

/// A fault in the index of a sharded checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardIndexError {
    /// The index is not a JSON object with a `weight_map` of file names by tensor.
    #[error("not an index of shards")]
    Json(#[from] serde_json::Error),
    /// A shard lies outside the folder of the index.
    #[error("shard `{shard}` of tensor `{tensor}`, expected a path below the index's own folder")]
    OutsideFolder {
        /// The first tensor that the index places in the shard.
        tensor: String,
        /// The name of the shard in the index.
        shard: String,
    },
}

#[derive(Deserialize)]
struct Contents {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Parses the text of a `model.safetensors.index.json`.
    ///
    /// # Errors
    ///
    /// Fails if the text is not such an index, or if a shard's name leads out of the folder of the index.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::checkpoint::ShardIndex;
    ///
    /// let text = r#"{"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}"#;
    /// let index = ShardIndex::parse(text.as_bytes())?;
    /// assert_eq!(index.files().into_iter().collect::<Vec<_>>(), ["1.safetensors", "2.safetensors"]);
    /// # Ok::<(), inject_models::checkpoint::ShardIndexError>(())
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, ShardIndexError> {
        let Contents { weight_map } = serde_json::from_slice(text)?;
        match weight_map.iter().find(|(_, shard)| !is_below_folder(shard)) {
            None => Ok(ShardIndex { shards: weight_map }),
            Some((tensor, shard)) => {
                Err(ShardIndexError::OutsideFolder { tensor: tensor.clone(), shard: shard.clone() })
            }
        }
    }

    /// Returns the file name of the shard that holds each tensor, by the tensor's name.
    pub fn shards(&self) -> &BTreeMap<String, String> {
        &self.shards
    }

    /// Returns the file names of the shards, each once.
    pub fn files(&self) -> BTreeSet<&str> {
        self.shards.values().map(String::as_str).collect()
    }
}

/// Whether a name from outside is a relative path that stays below its folder on every system.
fn is_below_folder(name: &str) -> bool {
    !name.contains(['\\', ':', '\0']) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
