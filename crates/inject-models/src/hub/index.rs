//! The list of a sharded checkpoint's files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::{Deserialize, de::Error as _};

use super::{HubError, HubFile};

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, each once.
///
/// # Errors
///
/// [`HubError::MalformedIndex`] if it is no index or names no file, [`HubError::UnsafeShard`] if a name is not a
/// plain relative path, [`HubError::Cache`] if the index cannot be read.
pub(super) fn shards(path: &Path, at: Box<HubFile>) -> Result<BTreeSet<String>, HubError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(HubError::Cache { at, path: path.to_owned(), source }),
    };
    let shards: BTreeSet<String> = match serde_json::from_slice::<Index>(&bytes) {
        Ok(index) => index.weight_map.into_values().collect(),
        Err(source) => return Err(HubError::MalformedIndex { at, source }),
    };
    if shards.is_empty() {
        return Err(HubError::MalformedIndex {
            at,
            source: serde_json::Error::custom("weight_map is empty"),
        });
    }
    match shards.iter().find(|shard| !is_plain_path(shard)) {
        Some(shard) => Err(HubError::UnsafeShard { at, shard: shard.clone() }),
        None => Ok(shards),
    }
}

/// Whether a text from outside is a relative path that stays below its folder, and needs no escaping in a URL.
///
/// A list of what is allowed, not of what is dangerous: it leaves no room for `\`, drive letters, `%2e` or NUL.
pub(super) fn is_plain_path(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'=' | b',');
    text.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BTreeSet<String>, HubError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        fs::write(&path, json).unwrap();
        let at = HubFile {
            file: "index.json".into(),
            repo: "o/n".parse().unwrap(),
            endpoint: "http://hub".into(),
        };
        shards(&path, Box::new(at))
    }

    #[test]
    fn each_shard_is_named_once() {
        let shards =
            read(r#"{"metadata": {}, "weight_map": {"a": "2.st", "b": "1.st", "c": "2.st"}}"#).unwrap();
        assert_eq!(shards.into_iter().collect::<Vec<_>>(), ["1.st", "2.st"]);
    }

    #[test]
    fn an_index_that_is_none_is_malformed() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"weight_map": ["a"]}"#,
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {}}"#,
        ] {
            let error = read(json).unwrap_err();
            assert!(matches!(error, HubError::MalformedIndex { .. }), "{json}: {error:?}");
            assert_eq!(error.to_string(), "index.json of o/n@main at http://hub: malformed index");
        }
    }

    #[test]
    fn a_shard_outside_the_folder_is_unsafe() {
        let names =
            ["../x", "/etc/passwd", "a/../../x", "a\\\\b", "C:/x", "", ".", "a//b", "%2e%2e/x", "a\\u0000"];
        for name in names {
            let error = read(&format!(r#"{{"weight_map": {{"a": "ok.st", "b": "{name}"}}}}"#)).unwrap_err();
            assert!(matches!(error, HubError::UnsafeShard { .. }), "{name}: {error:?}");
        }
    }

    #[test]
    fn a_shard_in_a_subfolder_is_plain() {
        assert!(is_plain_path("model-00001-of-00002.safetensors"));
        assert!(is_plain_path("weights/part.1.safetensors"));
    }
}
