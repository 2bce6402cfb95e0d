//! A commit that the user names by its hash: it never changes, so the cache is as good as the Hub.

use std::{fs, time::Duration};

use inject_models::{
    hub::{HubError, HubOptions, Snapshot, fetch_tokenizer},
    silent,
};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE, fetch_text, files_in, options,
    server::{Answer, Body, COMMIT, REPO, Server, refusal},
};

/// Everything that a model in one file has.
const WHOLE: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("model.safetensors", "all the weights"),
    ("tokenizer.json", "{\"model\": {}}"),
    ("tokenizer_config.json", "{}"),
];

fn pinned(options: &HubOptions) -> Result<Snapshot, HubError> {
    fetch_text(&format!("{REPO}@{COMMIT}"), options)
}

/// The files that the client asks about in a fetch of the pinned commit.
fn asked(server: &Server, options: &HubOptions) -> Vec<String> {
    server.take_requests();
    pinned(options).unwrap();
    let requests = server.take_requests().into_iter();
    requests.map(|request| request.path.splitn(6, '/').last().unwrap().to_owned()).collect()
}

/// Lets the Hub say that a file is not there.
fn deny(server: &Server, file: &'static str) {
    server.play(move |_, request, reply| match request.path.ends_with(&format!("/{file}")) {
        true => Answer::Reply(refusal(404, "EntryNotFound").with("X-Repo-Commit", COMMIT)),
        false => Answer::Reply(reply),
    });
}

/// Lets what the Hub said about missing files be said an hour earlier.
fn an_hour_passes(cache: &TempDir) {
    let folder = format!("models--{}", REPO.replace('/', "--"));
    let record = cache.path().join(folder).join(".absent").join(COMMIT);
    let text = fs::read_to_string(&record).unwrap();
    let earlier = text.lines().map(|line| {
        let (at, file) = line.split_once(' ').unwrap();
        format!("{} {file}\n", at.parse::<u64>().unwrap() - 3600)
    });
    fs::write(&record, earlier.collect::<String>()).unwrap();
}

#[test]
fn a_commit_that_the_cache_has_whole_is_not_asked_about() {
    for repo in [REPO.to_owned(), format!("{REPO}@{COMMIT}")] {
        let (server, cache) = (Server::start(WHOLE), TempDir::new().unwrap());
        let options = options(&server, &cache);
        let fetched = fetch_text(&repo, &options).unwrap();
        assert!(asked(&server, &options).is_empty());
        drop(server);
        assert_eq!(pinned(&options).unwrap(), fetched);
    }
}

#[test]
fn an_absence_is_asked_about_until_two_fetches_were_told_of_it_an_hour_apart() {
    let absent = ["tokenizer.json", "vocab.json", "tokenizer.model", "tokenizer_config.json"];
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let fetched = pinned(&options).unwrap();
    // As shares that are started together, or again at once.
    (0..3).for_each(|_| assert_eq!(asked(&server, &options), absent));
    an_hour_passes(&cache);
    assert_eq!(asked(&server, &options), absent);
    assert!(asked(&server, &options).is_empty());
    drop(server);
    assert_eq!(pinned(&options).unwrap(), fetched);

    // The shards' list is asked for, because nothing else says that there is none.
    let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
    let options = self::options(&server, &cache);
    pinned(&options).unwrap();
    an_hour_passes(&cache);
    assert_eq!(asked(&server, &options), ["tokenizer_config.json"]);
    assert!(asked(&server, &options).is_empty());
}

#[test]
fn wrong_answers_of_one_hour_are_made_up_for() {
    let (server, cache) = (Server::start(WHOLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    deny(&server, "tokenizer.json");
    for _ in 0..3 {
        assert!(!files_in(&pinned(&options).unwrap().folder).contains_key("tokenizer.json"));
    }
    server.be_honest();
    assert!(files_in(&pinned(&options).unwrap().folder).contains_key("tokenizer.json"));
    assert!(asked(&server, &options).is_empty());
}

#[test]
fn a_branch_makes_up_for_any_number_of_wrong_answers() {
    let (server, cache) = (Server::start(WHOLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    deny(&server, "tokenizer.json");
    pinned(&options).unwrap();
    an_hour_passes(&cache);
    (0..3).for_each(|_| drop(pinned(&options).unwrap()));
    server.be_honest();
    assert!(!files_in(&pinned(&options).unwrap().folder).contains_key("tokenizer.json"));
    let snapshot = fetch_text(REPO, &options).unwrap();
    assert!(files_in(&snapshot.folder).contains_key("tokenizer.json"));
    // It was there, so what was said before counts no more.
    fs::remove_file(snapshot.folder.join("tokenizer.json")).unwrap();
    assert_eq!(asked(&server, &options), ["tokenizer.json"]);
    assert!(files_in(&snapshot.folder).contains_key("tokenizer.json"));
}

#[test]
fn an_answer_that_does_not_name_the_file_and_the_commit_is_not_remembered() {
    for (code, commit) in [("", COMMIT), ("EntryNotFound", ""), ("EntryNotFound", &COMMIT.replace('1', "2"))]
    {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let (options, commit) = (options(&server, &cache), commit.to_owned());
        let code = code.to_owned();
        server.play(move |_, _, reply| match reply.status {
            404 => Answer::Reply(refusal(404, &code).with("X-Repo-Commit", &commit)),
            _ => Answer::Reply(reply),
        });
        pinned(&options).unwrap();
        (0..3).for_each(|_| assert_eq!(asked(&server, &options).len(), 4));
    }
}

#[test]
fn a_fetch_without_the_weights_says_nothing_about_other_files() {
    for file in ["model.safetensors", "config.json"] {
        let (server, cache) = (Server::start(WHOLE), TempDir::new().unwrap());
        let options = options(&server, &cache);
        deny(&server, file);
        (0..3).for_each(|_| drop(pinned(&options).unwrap_err()));
        server.be_honest();
        assert!(files_in(&pinned(&options).unwrap().folder).contains_key(file));
    }
}

#[test]
fn the_cache_stands_in_for_a_hub_that_has_lost_the_commit_or_says_nothing_and_says_so() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    let fetched = pinned(&options).unwrap();
    let reason = |options: &HubOptions| {
        let snapshot = pinned(options).unwrap();
        assert_eq!(snapshot.folder, fetched.folder);
        snapshot.from_cache.unwrap()
    };
    let commits = std::mem::take(&mut server.state().commits);
    let said = reason(&options);
    assert!(said.contains("no such revision") && said.contains(COMMIT), "{said}");
    server.state().commits = commits;
    server.play(|_, _, _| Answer::Raw(Body::Stuck(Vec::new())));
    let second = Duration::from_secs(1);
    let said = reason(&options.clone().with_timeouts(second, second).unwrap());
    assert!(said.contains("timed out"), "{said}");
    // Without the files, the Hub's word counts.
    server.be_honest();
    server.state().commits.clear();
    let empty = TempDir::new().unwrap();
    let error = pinned(&self::options(&server, &empty)).unwrap_err();
    assert!(matches!(error, HubError::RevisionNotFound { .. }), "{error:?}");
}

#[test]
fn a_tokenizer_alone_leaves_the_model_to_be_asked_for() {
    let (server, cache) = (Server::start(WHOLE), TempDir::new().unwrap());
    let (options, repo) = (options(&server, &cache), format!("{REPO}@{COMMIT}").parse().unwrap());
    let fetched = fetch_tokenizer(&repo, &options, &mut silent).unwrap();
    server.take_requests();
    assert_eq!(fetch_tokenizer(&repo, &options, &mut silent).unwrap(), fetched);
    assert!(server.take_requests().is_empty());
    let model = pinned(&options).unwrap();
    assert_eq!(files_in(&model.folder).len(), WHOLE.len());
}
