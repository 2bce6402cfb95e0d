//! The list of a sharded checkpoint's files.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path};

use serde::de::Error as _;

use super::{
    error::{HubError, HubFile},
    http_error::shown,
    limits::{MAX_SHARDS, SAFETENSORS_INDEX, limit},
};
use crate::checkpoint::{ShardIndex, ShardIndexError};

/// Longest name in a path on the usual file systems.
const MAX_NAME: usize = 255;
/// Longest path that is taken from outside.
const MAX_PATH: usize = 1024;

/// The files that an index names, each once.
///
/// # Errors
///
/// [`HubError::MalformedIndex`] if it is not an index, or names no file or too many, [`HubError::UnsafeShard`] if a name is not
/// a plain relative path, [`HubError::Cache`] if the index cannot be read.
pub(super) fn shards(path: &Path, at: Box<HubFile>) -> Result<BTreeSet<String>, HubError> {
    let mut bytes = Vec::new();
    let limit = limit(SAFETENSORS_INDEX);
    if let Err(source) = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)) {
        return Err(HubError::Cache { at, path: path.to_owned(), source });
    }
    let malformed =
        |at, problem: &str| HubError::MalformedIndex { at, source: serde_json::Error::custom(problem) };
    if bytes.len() as u64 > limit {
        return Err(malformed(at, "the file is larger than an index has reason to be"));
    }
    let index = match ShardIndex::parse(&bytes) {
        Ok(index) => index,
        Err(ShardIndexError::Json(source)) => return Err(HubError::MalformedIndex { at, source }),
        Err(ShardIndexError::OutsideFolder { shard, .. }) => {
            return Err(HubError::UnsafeShard { at, shard: shown(&shard) });
        }
    };
    let files = index.files();
    if files.is_empty() {
        return Err(malformed(at, "weight_map is empty"));
    }
    if files.len() > MAX_SHARDS {
        return Err(malformed(at, &format!("more than {MAX_SHARDS} files")));
    }
    match files.iter().find(|shard| !is_plain_path(shard)) {
        Some(shard) => Err(HubError::UnsafeShard { at, shard: shown(shard) }),
        None => Ok(files.into_iter().map(str::to_owned).collect()),
    }
}

/// Whether a text from outside is a relative path that stays below its folder, and needs no escaping in a URL.
///
/// A list of what is allowed, not of what is dangerous: it leaves no room for `\`, drive letters, `%2e` or NUL.
pub(super) fn is_plain_path(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'=' | b',');
    let is_name =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= MAX_NAME && part.bytes().all(is_plain);
    text.len() <= MAX_PATH && text.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn an_index_of_very_many_or_very_long_names_is_refused() {
        let many: Vec<_> = (0..=MAX_SHARDS).map(|n| format!(r#""{n}": "{n}.st""#)).collect();
        let error = read(&format!(r#"{{"weight_map": {{{}}}}}"#, many.join(", "))).unwrap_err();
        assert!(matches!(error, HubError::MalformedIndex { .. }), "{error:?}");
        for name in ["x".repeat(256), "x/".repeat(600) + "x"] {
            let error = read(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#)).unwrap_err();
            assert!(matches!(&error, HubError::UnsafeShard { shard, .. } if shard.len() < 200), "{error:?}");
        }
    }

    #[test]
    fn an_index_that_is_longer_than_any_is_refused_whatever_it_holds() {
        let index = r#"{"weight_map": {"a": "1.st"}}"#;
        let spaces = " ".repeat(limit(SAFETENSORS_INDEX) as usize - index.len());
        assert!(read(&format!("{index}{spaces}")).is_ok());
        let error = read(&format!("{index}{spaces} ")).unwrap_err();
        assert!(matches!(error, HubError::MalformedIndex { .. }), "{error:?}");
    }

    #[test]
    fn a_shard_in_a_subfolder_is_plain() {
        assert!(is_plain_path("model-00001-of-00002.safetensors"));
        assert!(is_plain_path("weights/part.1.safetensors"));
    }
}
