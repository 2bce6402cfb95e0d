//! What a fetch leaves in the cache for later ones.

#![cfg(unix)]

use std::fs;

use inject_models::{
    hub::{HttpError, HubError, fetch_tokenizer},
    silent,
};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE, cut_in_half, fetch_text, files_in, options,
    server::{Answer, COMMIT, REPO, Reply, Server, refusal, sha256},
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
fn an_absence_is_remembered_only_with_its_commit_and_its_reason() {
    let no = |code: &str, commit: &str| refusal(404, code).with("X-Repo-Commit", commit);
    for (answer, is_remembered) in [
        (no("EntryNotFound", COMMIT), true),
        (no("EntryNotFound", &later()), false),
        (no("", COMMIT), false),
        (refusal(404, "EntryNotFound"), false),
    ] {
        let files = [SHARDED, &[("tokenizer_config.json", "{}")]].concat();
        let (server, cache) = (Server::start(&files), TempDir::new().unwrap());
        let options = options(&server, &cache);
        let said: Reply = answer.clone();
        server.play(move |_, request, reply| match request.path.ends_with("/tokenizer_config.json") {
            true => Answer::Reply(said.clone()),
            false => Answer::Reply(reply),
        });
        fetch_text(REPO, &options).unwrap();
        server.be_honest();
        let snapshot = fetch_text(REPO, &options).unwrap();
        let is_there = files_in(&snapshot.folder).contains_key("tokenizer_config.json");
        assert_eq!(is_there, !is_remembered, "{:?}", answer.headers);
    }
}

#[test]
fn an_absence_that_leaves_a_model_incomplete_is_not_believed_a_second_time() {
    for (files, absent) in [
        (SINGLE, "model.safetensors"),
        (SHARDED, "model.safetensors.index.json"),
        (&[SINGLE[0], ("pytorch_model.bin", "pickled")], "pytorch_model.bin"),
        (SHARDED, "tokenizer.json"),
        (&[SINGLE[0], SINGLE[1], ("vocab.json", "{}"), ("merges.txt", "")], "merges.txt"),
        (&[SINGLE[0], SINGLE[1], ("tokenizer.model", "pieces")], "tokenizer.model"),
    ] {
        let (server, cache) = (Server::start(files), TempDir::new().unwrap());
        let pinned = format!("{REPO}@{COMMIT}");
        let options = options(&server, &cache);
        server.play(move |_, request, reply| match request.path.ends_with(&format!("/{absent}")) {
            true => Answer::Reply(refusal(404, "EntryNotFound").with("X-Repo-Commit", COMMIT)),
            false => Answer::Reply(reply),
        });
        let is_of_weights = !absent.starts_with("tokenizer") && absent != "merges.txt";
        assert_eq!(fetch_text(&pinned, &options).is_err(), is_of_weights, "{absent}");
        server.be_honest();
        let snapshot = fetch_text(&pinned, &options).unwrap();
        assert!(files_in(&snapshot.folder).contains_key(absent), "{absent}");
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
