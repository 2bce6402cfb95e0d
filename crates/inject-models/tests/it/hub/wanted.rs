//! Which files are fetched, and what is asked for them.

use inject_models::{
    Progress, Unit,
    hub::{HubError, Snapshot, fetch, fetch_tokenizer},
    silent,
};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE, fetch_text, files_in, options,
    server::{COMMIT, Place, REPO, Server},
};

#[test]
fn a_sharded_repository_is_fetched_whole_and_nothing_else() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();

    let wanted = [
        "config.json",
        "model.safetensors.index.json",
        "one.safetensors",
        "sub/two.safetensors",
        "tokenizer.json",
    ];
    let files = files_in(&snapshot.folder);
    assert_eq!(files.keys().collect::<Vec<_>>(), wanted);
    for (name, text) in SHARDED.iter().filter(|(name, _)| wanted.contains(name)) {
        assert_eq!(files[*name], *text);
    }
    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(server.take_contents(), wanted);
}

#[test]
fn only_the_branch_itself_is_ever_asked_for_by_name() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
    let requests = server.take_requests();
    assert_eq!(requests[0].path, "/owner/tiny/resolve/main/config.json");
    let mut later = requests[1..].iter().filter(|request| request.place == Place::Hub);
    assert!(later.all(|request| request.path.contains(COMMIT)), "{requests:?}");
}

#[test]
fn each_file_is_asked_about_once_and_never_in_compressed_form() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
    let requests = server.take_requests();
    let mut asked: Vec<_> = requests.iter().filter(|r| r.method == "HEAD").map(|r| r.path.clone()).collect();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), count, "{requests:?}");
    assert!(requests.iter().all(|request| request.accept_encoding.as_deref() == Some("identity")));
}

#[test]
fn the_revision_is_part_of_the_url() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.state().refs.insert("refs/pr/1".to_owned(), COMMIT.to_owned());
    let snapshot = fetch_text(&format!("{REPO}@refs/pr/1"), &options(&server, &cache)).unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(server.take_requests()[0].path, "/owner/tiny/resolve/refs%2Fpr%2F1/config.json");
}

#[test]
fn a_branch_that_moves_meanwhile_does_not_mix_two_commits() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let later = COMMIT.replace('1', "2");
    server.add_commit(&later, &[("config.json", "{}"), ("model.safetensors", "other weights")]);
    server.state().move_main = Some((1, later.clone()));
    let options = options(&server, &cache);

    let first = fetch_text(REPO, &options).unwrap();
    assert_eq!(files_in(&first.folder)["model.safetensors"], "all the weights");
    server.take_requests();

    // config.json is the same in both, so its blob is linked.
    let second = fetch_text(REPO, &options).unwrap();
    assert_eq!((second.commit, server.take_contents()), (later, vec!["model.safetensors".to_owned()]));
    assert_eq!(files_in(&second.folder)["config.json"], "{}");
    assert_eq!(files_in(&second.folder)["model.safetensors"], "other weights");
}

#[test]
fn a_shard_outside_the_folder_is_refused_before_it_is_asked_for() {
    let index = r#"{"weight_map": {"a": "../x"}}"#;
    let (server, cache) = (
        Server::start(&[("config.json", "{}"), ("model.safetensors.index.json", index)]),
        TempDir::new().unwrap(),
    );
    let error = fetch_text(REPO, &options(&server, &cache)).unwrap_err();
    assert!(matches!(&error, HubError::UnsafeShard { shard, .. } if shard == "../x"), "{error:?}");
    assert!(error.to_string().contains("model.safetensors.index.json of owner/tiny@main"), "{error}");
    assert!(server.take_requests().iter().all(|request| !request.path.ends_with("/x")));
}

#[test]
fn a_pickle_is_taken_only_where_there_are_no_safetensors() {
    let pickle = ("pytorch_model.bin", "pickled");
    let (server, cache) = (Server::start(&[SINGLE[0], SINGLE[1], pickle]), TempDir::new().unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
    assert_eq!(server.take_contents(), ["config.json", "model.safetensors"]);

    let (server, cache) = (Server::start(&[SINGLE[0], pickle]), TempDir::new().unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
    assert_eq!(server.take_contents(), ["config.json", "pytorch_model.bin"]);

    let index = ("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "one.bin", "b": "two.bin"}}"#);
    let sharded = [SINGLE[0], index, ("one.bin", "the first shard"), ("two.bin", "the second shard")];
    let (server, cache) = (Server::start(&sharded), TempDir::new().unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
    let expected = ["config.json", "one.bin", "pytorch_model.bin.index.json", "two.bin"];
    assert_eq!(server.take_contents(), expected);
}

#[test]
fn a_tokenizer_alone_is_fetched_without_the_model() {
    let older = [SINGLE[0], SINGLE[1], ("vocab.json", "{}"), ("merges.txt", "#version: 0.2")];
    let pieces = [SINGLE[0], SINGLE[1], ("tokenizer.model", "pieces")];
    let settings =
        r#"{"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json", "tokenizer.6.0.0.json"]}"#;
    let versioned = [
        SINGLE[0],
        SINGLE[1],
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", settings),
        ("tokenizer.4.0.0.json", "{\"model\": {}}"),
        ("tokenizer.6.0.0.json", "{}"),
    ];
    let cases: [(&[(&str, &str)], &[&str]); 4] = [
        (SHARDED, &["tokenizer.json"]),
        (&versioned, &["tokenizer.4.0.0.json", "tokenizer.json", "tokenizer_config.json"]),
        (&older, &["merges.txt", "vocab.json"]),
        (&pieces, &["tokenizer.model"]),
    ];
    for (files, expected) in cases {
        let (server, cache) = (Server::start(files), TempDir::new().unwrap());
        let (repo, options) = (REPO.parse().unwrap(), options(&server, &cache));
        let snapshot = fetch_tokenizer(&repo, &options, &mut silent).unwrap();
        assert_eq!(server.take_contents(), expected);
        assert!(snapshot.folder.join(expected[0]).is_file());
        // The files in the cache are not the whole model.
        let offline = options.clone().with_offline(true);
        assert_eq!(fetch_tokenizer(&repo, &offline, &mut silent).unwrap(), snapshot);
        assert!(matches!(fetch_text(REPO, &offline), Err(HubError::OfflineMiss { .. })));
    }
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let error = fetch_tokenizer(&REPO.parse().unwrap(), &options(&server, &cache), &mut silent).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn progress_reaches_the_size_of_each_file_once_it_is_there() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    for _ in ["fetched", "found in the cache"] {
        let mut events = Vec::new();
        let mut record = |progress: Progress<'_>| {
            assert_eq!(progress.unit, Unit::Bytes);
            events.push(format!("{} {}/{}", progress.task, progress.done, progress.total));
        };
        fetch(&REPO.parse().unwrap(), &options, &mut record).unwrap();
        assert_eq!(events, ["config.json 2/2", "model.safetensors 15/15"]);
    }
}

#[test]
fn two_fetches_at_once_agree() {
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let snapshots: Vec<Snapshot> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| fetch_text(REPO, &options).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(snapshots.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(files_in(&snapshots[0].folder)["sub/two.safetensors"], "the second shard");
}

#[test]
fn the_token_is_sent_as_a_bearer() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let with_token = options(&server, &cache).with_token("hf_secret").unwrap();
    fetch_text(REPO, &with_token).unwrap();
    let (at_home, elsewhere): (Vec<_>, Vec<_>) =
        server.take_requests().into_iter().partition(|request| request.place == Place::Hub);
    assert!(!at_home.is_empty() && !elsewhere.is_empty());
    assert!(at_home.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(elsewhere.iter().all(|request| request.authorization.is_none()));

    fetch_text(REPO, &options(&server, &cache)).unwrap();
    assert!(server.take_requests().iter().all(|request| request.authorization.is_none()));
}
