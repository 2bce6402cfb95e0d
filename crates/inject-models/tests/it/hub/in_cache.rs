//! The files in the cache: found offline, and used in place of a Hub that cannot be reached.

use std::{error::Error, fs, path::Path};

use burn::tensor::Device;
use inject_models::{
    Model, ModelSource, Precision,
    hub::{HttpError, HubError},
    silent,
};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE, fetch_text, options,
    server::{Answer, COMMIT, REPO, Server},
};

#[test]
fn what_is_cached_is_found_offline_without_a_connection() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let fetched = fetch_text(REPO, &options).unwrap();
    server.take_requests();

    let offline = options.with_offline(true);
    assert_eq!(fetch_text(REPO, &offline).unwrap(), fetched);
    assert!(server.take_requests().is_empty());
    drop(server);
    assert_eq!(fetch_text(REPO, &offline).unwrap(), fetched);
    assert_eq!(fetch_text(&format!("{REPO}@{COMMIT}"), &offline).unwrap(), fetched);
}

#[test]
fn offline_the_missing_file_is_named() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let offline = options.clone().with_offline(true);
    let missing = || match fetch_text(REPO, &offline) {
        Err(HubError::OfflineMiss { at, .. }) => at.file,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(), "config.json");
    let snapshot = fetch_text(REPO, &options).unwrap();
    fs::remove_file(snapshot.folder.join("sub/two.safetensors")).unwrap();
    assert_eq!(missing(), "sub/two.safetensors");
}

#[test]
fn a_second_online_run_asks_for_the_branch_and_for_files_that_were_not_there() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let fetched = fetch_text(REPO, &options).unwrap();
    server.take_requests();
    let absent = format!("/{REPO}/resolve/{COMMIT}/tokenizer_config.json");
    let asked = || server.take_requests().into_iter().map(|request| request.path).collect::<Vec<_>>();
    assert_eq!(fetch_text(REPO, &options).unwrap(), fetched);
    assert_eq!(asked(), [format!("/{REPO}/resolve/main/config.json"), absent]);
}

#[test]
fn the_cache_stands_in_when_the_hub_is_out_of_reach_or_refuses_and_says_so() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let fetched = fetch_text(REPO, &options).unwrap();
    assert_eq!(fetched.from_cache, None);
    let reason = |repo: &str| {
        let snapshot = fetch_text(repo, &options).unwrap();
        assert_eq!((&snapshot.folder, &snapshot.commit), (&fetched.folder, &fetched.commit));
        snapshot.from_cache
    };
    for (status, said) in [(401, "status 401"), (403, "status 403"), (503, "127.0.0.1: HTTP status 503")] {
        server.refuse(status, "GatedRepo");
        assert!(reason(REPO).is_some_and(|reason| reason.contains(said)), "{status}");
    }
    server.play(|_, _, reply| Answer::Reply(reply.set("ETag", "\"../x\"")));
    assert!(reason(REPO).unwrap().contains("header ETag is"));
    drop(server);
    assert!(reason(REPO).unwrap().contains("the connection failed"));
    let error = fetch_text("owner/other", &options).unwrap_err();
    assert!(matches!(&error, HubError::Http { source: HttpError::Connection(_), .. }), "{error:?}");
    let cause = Error::source(&error).unwrap();
    assert!(Error::source(cause).is_some());
}

#[test]
fn a_model_notes_that_the_cache_stood_in() {
    let (server, cache) = (Server::start(&[]), TempDir::new().unwrap());
    let llama = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    let files = ["config.json", "model.safetensors"]
        .map(|name| (name.to_owned(), fs::read(llama.join(name)).unwrap()));
    server.state().commits.insert(COMMIT.to_owned(), files.into());
    let (options, source) = (options(&server, &cache), ModelSource::Hub(REPO.parse().unwrap()));
    let noted = || {
        let origin = source.fetch(&options, &mut silent).unwrap();
        let model = Model::load(origin, Precision::default(), &Device::flex()).unwrap();
        model.notes().iter().map(ToString::to_string).filter(|note| note.contains(COMMIT)).collect::<Vec<_>>()
    };
    assert!(noted().is_empty());
    server.refuse(500, "");
    let notes = noted();
    assert!(matches!(notes.as_slice(), [note] if note.contains("HTTP status 500")), "{notes:?}");
}
