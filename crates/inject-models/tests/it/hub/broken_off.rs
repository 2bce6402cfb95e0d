//! Downloads that break off on the way.

use std::fs;

use inject_models::{
    Progress, Unit,
    hub::{HttpError, HubError, fetch},
};
use tempfile::TempDir;

use super::{
    SINGLE, fetch_text, files_in, options,
    server::{Answer, Body, COMMIT, Place, REPO, Reply, Request, Server},
};

/// Announces everything, sends half, hangs up.
pub(super) fn cut_in_half(request: &Request, reply: Reply) -> Answer {
    if request.method == "HEAD" || !matches!(reply.status, 200 | 206) {
        return Answer::Reply(reply);
    }
    let bytes = reply.bytes();
    Answer::Reply(Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply })
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
fn a_connection_that_closes_as_it_is_used_again_is_replaced() {
    let whole = requests_of_a_fetch(None);
    let sent: Vec<_> = (0..whole.len()).map(|last| requests_of_a_fetch(Some(last))).collect();
    // The file after the metadata of the first is asked for over the same connection, and is lost with it.
    assert_eq!(sent[0].len(), whole.len() + 1);
    for (last, mut sent) in sent.into_iter().enumerate() {
        sent.dedup();
        assert_eq!(sent, whole, "after answer {last}");
    }
}

/// The requests of a fetch that succeeds: where each went, and what it was.
fn requests_of_a_fetch(last: Option<usize>) -> Vec<(Place, String, String)> {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(move |number, _, reply| match last {
        Some(last) if last == number => Answer::Last(reply),
        _ => Answer::Reply(reply),
    });
    let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
    let files = files_in(&snapshot.folder);
    assert!(SINGLE.iter().all(|(name, text)| files[*name] == *text), "{files:?}");
    server.take_requests().into_iter().map(|request| (request.place, request.method, request.path)).collect()
}

#[test]
fn a_server_that_closes_every_connection_is_given_up() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|number, _, reply| match number {
        0 => Answer::Last(reply),
        _ => Answer::Raw(Body::Bytes(Vec::new())),
    });
    let error = fetch_text(REPO, &options(&server, &cache)).unwrap_err();
    assert!(matches!(error, HubError::Http { source: HttpError::Connection(_), .. }), "{error:?}");
    // The metadata, the content over the same connection, and over a new one.
    assert_eq!(server.take_requests().len(), 3);
}
