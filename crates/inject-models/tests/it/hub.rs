//! Fetching from a Hub, with a server on the loopback interface in its place.

// clippy.toml allows it in tests, but does not count their helper functions.
#![allow(clippy::unwrap_used)]

mod cache;
mod hostile;
mod left;
mod lengths;
mod parts;
mod pinned;
mod proxy;
mod redirects;
mod server;
mod wire;

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::Device;
use inject_models::{
    Model, ModelSource, Precision, Progress, Unit,
    hub::{HttpError, HubError, HubOptions, HubRepo, Snapshot, fetch, fetch_tokenizer},
    silent,
};
use server::{Answer, COMMIT, Place, REPO, Reply, Server};
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
    let cause = std::error::Error::source(&error).unwrap();
    assert!(std::error::Error::source(cause).is_some());
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

/// Announces everything, sends half, hangs up.
fn cut_in_half(request: &server::Request, reply: Reply) -> Answer {
    if request.method == "HEAD" || !matches!(reply.status, 200 | 206) {
        return Answer::Reply(reply);
    }
    let bytes = reply.bytes();
    Answer::Reply(Reply { body: server::Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply })
}

#[test]
fn a_truncated_download_is_no_cached_file() {
    for lie in [false, true] {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let options = options(&server, &cache);
        server.play(move |_, request, reply| match cut_in_half(request, reply) {
            // Half is announced, too.
            Answer::Reply(reply) if lie && request.method == "GET" => {
                let half = reply.bytes();
                Answer::Reply(reply.with_body(half))
            }
            answer => answer,
        });
        let error = fetch_text(REPO, &options).unwrap_err();
        match lie {
            true => assert!(
                matches!(error, HubError::Http { source: HttpError::Length { found: 1, expected: 2 }, .. }),
                "{error:?}"
            ),
            false => {
                assert!(matches!(error, HubError::Http { source: HttpError::Connection(_), .. }), "{error:?}")
            }
        }
        let offline = fetch_text(REPO, &options.clone().with_offline(true)).unwrap_err();
        assert!(matches!(offline, HubError::OfflineMiss { .. }), "{offline:?}");

        server.be_honest();
        let files = files_in(&fetch_text(REPO, &options).unwrap().folder);
        assert!(SINGLE.iter().all(|(name, text)| files[*name] == *text), "{files:?}");
    }
}

#[test]
fn an_interrupted_download_is_resumed_where_it_stopped() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.state().commits.get_mut(COMMIT).unwrap().insert("config.json".to_owned(), b"0123456789".to_vec());
    // Answer 0 is the metadata of config.json, answer 1 its content.
    server.play(
        |number, request, reply| {
            if number == 1 { cut_in_half(request, reply) } else { Answer::Reply(reply) }
        },
    );
    let mut received = Vec::new();
    let snapshot = fetch(&REPO.parse().unwrap(), &options(&server, &cache), &mut |progress| {
        if let Progress { task: "config.json", unit: Unit::Bytes, done, total: 10, .. } = progress {
            received.push(done);
        }
    });
    assert_eq!(files_in(&snapshot.unwrap().folder)["config.json"], "0123456789");
    assert_eq!(received, [5, 5, 10]);
    assert!(server.take_requests().iter().any(|request| request.range == Some(5)));
}

#[test]
fn a_complete_part_of_a_killed_process_is_no_obstacle() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let snapshot = fetch_text(REPO, &options).unwrap();
    let weights = snapshot.folder.join("model.safetensors");
    let blob = fs::canonicalize(&weights).unwrap();
    fs::rename(&blob, blob.with_extension("incomplete")).unwrap();
    fs::remove_file(&weights).unwrap();
    assert_eq!(fetch_text(REPO, &options).unwrap(), snapshot);
    assert_eq!(fs::read_to_string(weights).unwrap(), "all the weights");
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
    let cases: [(&[(&str, &str)], &[&str]); 3] = [
        (SHARDED, &["tokenizer.json"]),
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
