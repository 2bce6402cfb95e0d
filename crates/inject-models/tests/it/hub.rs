//! Fetching from a Hub, with a server on the loopback interface in its place.

// clippy.toml allows it in tests, but does not count their helper functions.
#![allow(clippy::unwrap_used)]

mod broken_off;
mod cache;
mod hostile;
mod in_cache;
mod left;
mod lengths;
mod parts;
mod pinned;
mod proxy;
mod redirects;
mod server;
mod wanted;
mod wire;

use std::{collections::BTreeMap, fs, path::Path};

use inject_models::{
    hub::{HubError, HubOptions, HubRepo, Snapshot, fetch},
    silent,
};
use server::{COMMIT, REPO, Server};
use tempfile::TempDir;

const INDEX: &str =
    r#"{"weight_map": {"a": "one.safetensors", "b": "sub/two.safetensors", "c": "one.safetensors"}}"#;
const SHARDED: &[(&str, &str)] = &[
    ("README.md", "# Tiny"),
    ("config.json", "{\"model_type\": \"gpt2\"}"),
    ("generation_config.json", "{}"),
    ("model.safetensors.index.json", INDEX),
    ("one.safetensors", "the first shard"),
    ("sub/two.safetensors", "the second shard"),
    ("three.safetensors", "a shard that the index does not name"),
    ("tokenizer.json", "{\"model\": {}}"),
    ("tf_model.h5", "another framework's"),
];
const SINGLE: &[(&str, &str)] = &[("config.json", "{}"), ("model.safetensors", "all the weights")];

fn options(server: &Server, cache: &TempDir) -> HubOptions {
    HubOptions::new(cache.path()).with_endpoint(&server.endpoint()).unwrap()
}

fn fetch_text(repo: &str, options: &HubOptions) -> Result<Snapshot, HubError> {
    fetch(&repo.parse::<HubRepo>().unwrap(), options, &mut silent)
}

/// Every file below a folder with its text, by relative path.
fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            files.extend(
                files_in(&entry.path()).into_iter().map(|(file, text)| (format!("{name}/{file}"), text)),
            );
        } else {
            files.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn a_refusal_is_a_gated_error_that_names_the_token_variable() {
    for code in [401, 403] {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        server.refuse(code, "GatedRepo");
        let error = fetch_text(REPO, &options(&server, &cache)).unwrap_err();
        assert!(matches!(error, HubError::Gated { status, .. } if status == code), "{error:?}");
        let text = error.to_string();
        for part in [REPO, "config.json", &server.endpoint(), "HF_TOKEN"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_missing_repository_revision_and_file_are_told_apart() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let error = fetch_text("owner/none", &options).unwrap_err();
    assert!(matches!(error, HubError::RepoNotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("owner/none@main at http://127.0.0.1"), "{error}");

    let other_commit = COMMIT.replace('1', "9");
    for revision in ["none", &other_commit] {
        let error = fetch_text(&format!("{REPO}@{revision}"), &options).unwrap_err();
        assert!(matches!(error, HubError::RevisionNotFound { .. }), "{error:?}");
        assert!(error.to_string().contains(revision), "{error}");
    }

    for absent in ["config.json", "model.safetensors"] {
        server.state().commits.get_mut(COMMIT).unwrap().remove(absent);
        let cache = TempDir::new().unwrap();
        let error = fetch_text(REPO, &self::options(&server, &cache)).unwrap_err();
        assert!(matches!(&error, HubError::FileNotFound { at } if at.file == absent), "{error:?}");
        server.add_commit(COMMIT, SINGLE);
    }
}
