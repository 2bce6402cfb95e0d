//! The files that a fetch leaves in the cache for later ones.

#![cfg(unix)]

use std::fs;

use inject_models::{
    hub::{HttpError, HubError, fetch_tokenizer},
    silent,
};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE,
    broken_off::cut_in_half,
    fetch_text, files_in, options,
    server::{Answer, COMMIT, REPO, Server, refusal, sha256},
};

fn later() -> String {
    COMMIT.replace('1', "2")
}

/// Lets the branch stand for a commit with these files.
fn move_main(server: &Server, files: &[(&str, &str)]) {
    server.add_commit(&later(), files);
    server.state().refs.insert("main".to_owned(), later());
}

#[test]
fn a_branch_stands_for_a_commit_only_when_all_its_files_are_there() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let first = fetch_text(REPO, &options).unwrap();
    move_main(&server, &[("config.json", "{}"), ("model.safetensors", "other weights")]);
    server.play(|_, request, reply| cut_in_half(request, reply));
    fetch_text(REPO, &options).unwrap_err();
    assert_eq!(fetch_text(REPO, &options.clone().with_offline(true)).unwrap(), first);
    server.be_honest();
    assert_eq!(fetch_text(REPO, &options).unwrap().commit, later());
}

#[test]
fn a_tokenizer_of_a_later_commit_does_not_hide_the_model() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let model = fetch_text(REPO, &options).unwrap();
    move_main(&server, SHARDED);
    let tokenizer = fetch_tokenizer(&REPO.parse().unwrap(), &options, &mut silent).unwrap();
    assert_eq!(tokenizer.commit, later());
    assert_eq!(fetch_text(REPO, &options.with_offline(true)).unwrap(), model);
}

#[test]
fn a_revision_that_is_gone_is_an_error_although_the_cache_has_it() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    fetch_text(REPO, &options).unwrap();
    server.state().refs.clear();
    let error = fetch_text(REPO, &options).unwrap_err();
    assert!(matches!(error, HubError::RevisionNotFound { .. }), "{error:?}");
}

#[test]
fn an_index_whose_shards_do_not_come_does_not_hide_the_weights_of_the_cache() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let snapshot = fetch_text(REPO, &options).unwrap();
    // The Hub now says of the same commit that it has an index, and not that it has its shards.
    let index = ("model.safetensors.index.json", r#"{"weight_map": {"a": "none.safetensors"}}"#);
    server.add_commit(COMMIT, &[SINGLE, &[index]].concat());
    let error = fetch_text(REPO, &options).unwrap_err();
    assert!(matches!(&error, HubError::FileNotFound { at } if at.file == "none.safetensors"), "{error:?}");
    let files = files_in(&snapshot.folder);
    assert_eq!(fetch_text(REPO, &options.with_offline(true)).unwrap(), snapshot);
    assert!(files.len() == SINGLE.len() && SINGLE.iter().all(|(name, text)| files[*name] == *text));
}

#[test]
fn a_single_absence_is_not_believed() {
    let lie = || refusal(404, "EntryNotFound").with("X-Repo-Commit", COMMIT);
    for (files, absent) in [
        (SHARDED, "tokenizer.json"),
        (SHARDED, "model.safetensors.index.json"),
        (SHARDED, "sub/two.safetensors"),
        (SINGLE, "model.safetensors"),
    ] {
        for repo in [REPO.to_owned(), format!("{REPO}@{COMMIT}")] {
            let (server, cache) = (Server::start(files), TempDir::new().unwrap());
            let options = options(&server, &cache);
            server.play(move |_, request, reply| match request.path.ends_with(&format!("/{absent}")) {
                true => Answer::Reply(lie()),
                false => Answer::Reply(reply),
            });
            assert_eq!(fetch_text(&repo, &options).is_ok(), absent == "tokenizer.json", "{absent}");
            server.be_honest();
            let snapshot = fetch_text(&repo, &options).unwrap();
            assert!(files_in(&snapshot.folder).contains_key(absent), "{absent}");
        }
    }
}

#[test]
fn a_file_of_another_commit_does_not_become_one_of_this() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, request, reply| match request.path.ends_with("/model.safetensors") {
        true => Answer::Reply(reply.set("X-Repo-Commit", &later())),
        false => Answer::Reply(reply),
    });
    let error = fetch_text(REPO, &options(&server, &cache)).unwrap_err();
    let HubError::Http { source: HttpError::Header { name: "X-Repo-Commit", found, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(found, format!("\"{}\"", later()));
    assert!(!server.take_contents().contains(&"model.safetensors".to_owned()));
}

#[test]
fn a_link_to_a_blob_that_is_gone_is_made_again() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let snapshot = fetch_text(REPO, &options).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::remove_file(fs::canonicalize(snapshot.folder.join(file)).unwrap()).unwrap();
        assert_eq!(fetch_text(REPO, &options).unwrap(), snapshot);
        assert!(snapshot.folder.join(file).is_file(), "{file}");
    }
}

#[test]
fn the_rest_of_a_killed_download_is_not_used_where_no_hash_would_show_that_it_fits() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, _, reply| Answer::Reply(reply.set("ETag", "\"no-hash\"")));
    let blobs = cache.path().join("models--owner--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let key = sha256(format!("{COMMIT}/config.json").as_bytes());
    fs::write(blobs.join(format!("{key}.incomplete")), "[").unwrap();
    let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
    assert_eq!(files_in(&snapshot.folder)["config.json"], "{}");
}
