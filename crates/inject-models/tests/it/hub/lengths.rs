//! The length of a file: what it may be, and what becomes of a download that is shorter or longer.

use std::time::Duration;

use inject_models::hub::{HttpError, HubError, HubOptions, TimeoutPhase};
use tempfile::TempDir;

use super::{
    SHARDED, SINGLE,
    broken_off::cut_in_half,
    fetch_text, files_in, options,
    server::{Answer, Body, Place, REPO, Reply, Server},
};

/// The client's error, which is that of an answer about this file.
fn error_about(file: &str, server: &Server, options: &HubOptions) -> HttpError {
    match fetch_text(REPO, options).unwrap_err() {
        HubError::Http { source, at, .. } if at.file == file => source,
        other => panic!("{file}, {:?}: {other:?}", server.take_requests()),
    }
}

fn bytes(reply: &Reply, bytes: Vec<u8>) -> Answer {
    Answer::Reply(Reply { body: Body::Bytes(bytes), ..reply.clone() })
}

#[test]
fn a_file_that_is_larger_than_its_kind_has_reason_to_be_is_not_fetched() {
    for (file, most) in [
        ("config.json", 4 << 20),
        ("tokenizer.json", 256 << 20),
        ("tokenizer_config.json", 4 << 20),
        ("model.safetensors.index.json", 32 << 20),
        ("one.safetensors", 1_u64 << 40),
    ] {
        let (server, cache) = (Server::start(SHARDED), TempDir::new().unwrap());
        server.state().commits.values_mut().for_each(|folder| {
            folder.insert("tokenizer_config.json".to_owned(), b"{}".to_vec());
        });
        let announce = |size: u64| {
            server.play(move |_, request, reply| match request.path.ends_with(&format!("/{file}")) {
                true => Answer::Reply(reply.set("X-Linked-Size", &size.to_string())),
                false => Answer::Reply(reply),
            });
            error_about(file, &server, &options(&server, &cache))
        };
        let error = announce(most + 1);
        assert!(
            matches!(error, HttpError::TooLarge { found, limit } if (found, limit) == (most + 1, most)),
            "{file}: {error:?}"
        );
        assert!(!server.take_contents().contains(&file.to_owned()), "{file}");
        // The content has another length.
        assert!(matches!(announce(most), HttpError::Length { .. }), "{file}");
    }
}

#[test]
fn an_announced_length_that_is_wrong_is_refused_before_a_byte_of_it_is_read() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, request, reply| match request.method.as_str() {
        "GET" => Answer::Reply(reply.with_body(vec![b' '; 100])),
        _ => Answer::Reply(reply),
    });
    let error = error_about("config.json", &server, &options(&server, &cache));
    assert!(matches!(error, HttpError::Length { found: 100, expected: 2 }), "{error:?}");
}

#[test]
fn the_length_of_a_compressed_form_is_not_that_of_the_file() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, request, reply| match request.method.as_str() {
        "HEAD" => Answer::Reply(reply.set("Content-Encoding", "gzip").set("Content-Length", "1")),
        _ => Answer::Reply(reply),
    });
    let error = error_about("config.json", &server, &options(&server, &cache));
    assert!(matches!(&error, HttpError::Coded { coding } if coding == "gzip"), "{error:?}");
    assert!(server.take_contents().is_empty());
}

#[test]
fn without_a_hash_the_length_is_compared() {
    for content in [b"".as_slice(), b"{", b"{} ", b"{}   and much more"] {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        server.play(move |_, request, reply| {
            let reply = reply.set("ETag", "\"no-hash\"");
            match request.method.as_str() {
                "GET" => bytes(&reply.without("Content-Length"), content.to_vec()),
                _ => Answer::Reply(reply),
            }
        });
        let error = error_about("config.json", &server, &options(&server, &cache));
        assert!(matches!(error, HttpError::Length { expected: 2, .. }), "{content:?}: {error:?}");
    }
}

#[test]
fn a_download_without_a_hash_is_not_resumed() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|number, request, reply| {
        let reply = reply.set("ETag", "\"no-hash\"");
        if number == 1 { cut_in_half(request, reply) } else { Answer::Reply(reply) }
    });
    let options = options(&server, &cache);
    let snapshot = fetch_text(REPO, &options).unwrap();
    assert_eq!(files_in(&snapshot.folder)["config.json"], "{}");
    assert!(server.take_requests().iter().all(|request| request.range.is_none()));
}

#[test]
fn a_server_that_sends_the_whole_file_for_a_range_is_taken_at_its_word() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|number, request, reply| match (number, request.range) {
        (1, _) => cut_in_half(request, reply),
        (_, Some(1)) => Answer::Reply(Reply::new(200).with_body(b"{}".to_vec())),
        _ => Answer::Reply(reply),
    });
    let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
    assert_eq!(files_in(&snapshot.folder)["config.json"], "{}");
    assert!(server.take_requests().iter().any(|request| request.range == Some(1)));
}

#[test]
fn a_download_that_breaks_off_again_and_again_is_given_up() {
    // Bytes of an answer, and the requests for the content that they are worth.
    for (length, expected) in [(1, 5), (0, 1)] {
        let (server, cache) =
            (Server::start(&[("config.json", "0123456789"), SINGLE[1]]), TempDir::new().unwrap());
        server.play(move |_, request, reply| match request.method.as_str() {
            "GET" => bytes(&reply, reply.bytes()[..length].to_vec()),
            _ => Answer::Reply(reply),
        });
        let error = error_about("config.json", &server, &options(&server, &cache));
        assert!(matches!(error, HttpError::Connection(_)), "{error:?}");
        assert_eq!(server.take_contents().len(), expected);
    }
}

#[test]
fn a_download_goes_on_for_as_long_as_each_attempt_brings_enough() {
    // More attempts than may bring hardly anything, and than the slowest acceptable connection makes of the time that this takes.
    const PIECE: usize = 1 << 16;
    let (text, idle) = (" ".repeat(12 * PIECE), Duration::from_secs(1));
    for (etag, piece, expected) in
        [(None, PIECE, Ok(12)), (None, 1023, Err(5)), (Some("\"no-hash\""), PIECE, Err(5))]
    {
        let (server, cache) = (Server::start(&[("config.json", &text), SINGLE[1]]), TempDir::new().unwrap());
        server.play(move |_, request, reply| {
            let reply = etag.into_iter().fold(reply, |reply, etag| reply.set("ETag", etag));
            let is_content = request.method == "GET" && request.path.ends_with("/config.json");
            match is_content {
                true => bytes(&reply, reply.bytes().into_iter().take(piece).collect()),
                false => Answer::Reply(reply),
            }
        });
        let options = options(&server, &cache).with_timeouts(Duration::from_secs(10), idle).unwrap();
        let outcome = fetch_text(REPO, &options);
        let asked = server.take_contents().into_iter().filter(|file| file == "config.json").count();
        assert_eq!(outcome.as_ref().map(|_| asked).map_err(|_| asked), expected, "{outcome:?}");
    }
}

#[test]
fn bytes_that_turn_out_wrong_are_asked_for_once_more_and_not_without_end() {
    const PIECE: usize = 1 << 16;
    let text = " ".repeat(4 * PIECE);
    let (server, cache) = (Server::start(&[("config.json", &text), SINGLE[1]]), TempDir::new().unwrap());
    server.play(move |_, request, reply| match request.method.as_str() {
        "GET" => bytes(&reply, reply.bytes().iter().take(PIECE).map(|_| b'x').collect()),
        _ => Answer::Reply(reply),
    });
    let second = Duration::from_secs(1);
    let options = options(&server, &cache).with_timeouts(10 * second, second).unwrap();
    let error = error_about("config.json", &server, &options);
    assert!(matches!(error, HttpError::Content { .. }), "{error:?}");
    assert_eq!(server.take_contents().len(), 8);
}

#[test]
fn a_large_file_of_which_nothing_comes_is_timed_out_as_soon_as_a_small_one() {
    const SIZE: usize = 4 << 20;
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, request, reply| {
        let reply = reply.set("Content-Length", &SIZE.to_string());
        match request.method.as_str() {
            "GET" => Answer::Reply(Reply { body: Body::Stuck(Vec::new()), ..reply }),
            _ => Answer::Reply(reply),
        }
    });
    let idle = Duration::from_secs(1);
    let options = options(&server, &cache).with_timeouts(Duration::from_secs(10), idle).unwrap();
    // At the slowest acceptable pace, the file takes an hour. A client that waited for it would see the server hang up.
    let error = fetch_text(REPO, &options).unwrap_err();
    let HubError::Http { source: HttpError::Timeout(TimeoutPhase::Receiving), .. } = error else {
        panic!("{error:?}")
    };
}

#[test]
fn content_with_another_status_than_success_is_named_with_its_host() {
    for status in [201, 203, 204, 205, 404] {
        for place in [Place::Hub, Place::Store] {
            let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
            server.play(move |_, request, reply| match request.place == place && request.method == "GET" {
                true if reply.status == 200 => {
                    Answer::Reply(Reply { status, ..reply.with("X-Error-Code", "RepoNotFound") })
                }
                _ => Answer::Reply(reply),
            });
            let error = fetch_text(REPO, &options(&server, &cache)).unwrap_err();
            let named = match (&error, place, status) {
                // What the Hub says about a repository counts, but not what its file server says.
                (HubError::RepoNotFound { .. }, Place::Hub, 404) => true,
                (HubError::Http { source: HttpError::Status(found), host, .. }, ..) => {
                    *found == status && host == "127.0.0.1" && (status, place) != (404, Place::Hub)
                }
                _ => false,
            };
            assert!(named, "{status} from {place:?}: {error:?}");
        }
    }
}
