//! Redirects, refusals and timeouts, each with its own error; and the way of the token.

#[cfg(target_os = "linux")]
use std::net::{TcpListener, TcpStream};
use std::{error::Error, time::Duration};

use inject_models::hub::{HttpError, HubError, HubOptions, TimeoutPhase};
use tempfile::TempDir;

use super::{
    SINGLE, fetch_text, options,
    server::{Answer, Body, Place, REPO, Reply, Server, refusal},
};

/// Returns the client's error if the very first answer is this one.
fn error_of(answer: impl Fn(Reply) -> Answer + Send + Sync + 'static) -> HttpError {
    error_with(|options| options, answer)
}

fn error_with(
    change: impl Fn(HubOptions) -> HubOptions,
    answer: impl Fn(Reply) -> Answer + Send + Sync + 'static,
) -> HttpError {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(move |_, _, reply| answer(reply));
    match fetch_text(REPO, &change(options(&server, &cache))).unwrap_err() {
        HubError::Http { host, source, at } => {
            assert_eq!(host, "127.0.0.1");
            assert_eq!(at.file, "config.json");
            source
        }
        other => panic!("{other:?}"),
    }
}

fn redirect(to: &str) -> Answer {
    Answer::Reply(Reply::new(302).with("Location", to).with_body(Vec::new()))
}

/// Waits for a byte many times as long as an honest answer of a busy machine takes.
fn short(options: HubOptions) -> HubOptions {
    options.with_timeouts(Duration::from_secs(10), Duration::from_secs(1)).unwrap()
}

#[test]
fn a_status_that_is_no_answer_is_named() {
    for status in [204, 206, 300, 304, 400, 416, 429, 500, 503] {
        let error = error_of(move |_| Answer::Reply(refusal(status, "")));
        assert!(matches!(error, HttpError::Status(found) if found == status), "{status}: {error:?}");
        assert!(error.to_string().contains(&status.to_string()));
    }
}

#[test]
fn a_redirect_without_a_location_is_named() {
    for status in [301, 302, 303, 307, 308] {
        let error = error_of(move |_| Answer::Reply(Reply::new(status).with_body(Vec::new())));
        assert!(matches!(error, HttpError::NoLocation { status: found } if found == status), "{error:?}");
    }
}

#[test]
fn a_redirect_to_something_else_than_a_url_is_named() {
    for to in ["", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:word@127.0.0.1/", "http://", "a b"]
    {
        let error = error_of(move |_| redirect(to));
        assert!(matches!(&error, HttpError::Location { .. }), "{to}: {error:?}");
    }
}

#[test]
fn a_redirect_of_the_hub_to_another_of_its_files_is_named() {
    for to in ["tokenizer.json", "/owner/tiny/resolve/main/sub/", "/x?/config.json", "xconfig.json"] {
        let error = error_of(move |_| redirect(to));
        assert!(matches!(&error, HttpError::OtherFile { .. }), "{to}: {error:?}");
    }
}

#[test]
fn redirects_without_end_are_counted() {
    for to in ["/owner/tiny/resolve/main/config.json", "config.json", "?again", "/owner/other/config.json"] {
        let error = error_of(move |_| redirect(to));
        assert!(matches!(error, HttpError::TooManyRedirects { limit: 10 }), "{to}: {error:?}");
    }
    let server = Server::start(SINGLE);
    let cache = TempDir::new().unwrap();
    server.play(|_, _, _| redirect("/round/and/round/config.json"));
    fetch_text(REPO, &options(&server, &cache)).unwrap_err();
    assert_eq!(server.take_requests().len(), 11);
}

#[test]
fn a_server_that_says_nothing_is_timed_out_in_each_phase() {
    let head = || error_with(short, |_| Answer::Raw(Body::Stuck(Vec::new())));
    assert!(matches!(head(), HttpError::Timeout(TimeoutPhase::Waiting)), "{:?}", head());

    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    server.play(|_, request, reply| match request.method.as_str() {
        "GET" => Answer::Reply(Reply { body: Body::Stuck(Vec::new()), ..reply }),
        _ => Answer::Reply(reply),
    });
    let error = fetch_text(REPO, &short(options(&server, &cache))).unwrap_err();
    let HubError::Http { source: HttpError::Timeout(TimeoutPhase::Receiving), .. } = error else {
        panic!("{error:?}")
    };
}

/// The operating system answers no more once the queue of a server that accepts nobody is full.
#[cfg(target_os = "linux")]
#[test]
fn a_server_that_takes_no_connection_is_timed_out() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
    let queue: Vec<_> = std::iter::from_fn(connect).take(900).collect();
    assert!(queue.len() < 900, "a queue without end");
    let (cache, connect, idle) =
        (TempDir::new().unwrap(), Duration::from_millis(500), Duration::from_secs(60));
    let options = HubOptions::new(cache.path()).with_endpoint(&format!("http://{address}")).unwrap();
    let error = fetch_text(REPO, &options.with_timeouts(connect, idle).unwrap()).unwrap_err();
    assert!(
        matches!(error, HubError::Http { source: HttpError::Timeout(TimeoutPhase::Connecting), .. }),
        "{error:?}"
    );
}

#[test]
fn a_body_that_comes_a_byte_at_a_time_is_too_slow() {
    let (server, cache) =
        (Server::start(&[("config.json", &" ".repeat(2000)), SINGLE[1]]), TempDir::new().unwrap());
    server.play(|_, request, reply| match request.method.as_str() {
        "GET" => {
            let bytes = reply.bytes();
            Answer::Reply(Reply { body: Body::Slow(bytes, Duration::from_millis(20)), ..reply })
        }
        _ => Answer::Reply(reply),
    });
    // Received whole, the file would be right.
    let error = fetch_text(REPO, &short(options(&server, &cache))).unwrap_err();
    assert!(matches!(&error, HubError::Http { source: HttpError::TooSlow { .. }, .. }), "{error:?}");
}

#[test]
fn a_server_that_is_not_there_is_a_failed_connection_with_its_cause() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let options = options(&server, &cache);
    drop(server);
    let error = fetch_text(REPO, &options).unwrap_err();
    let HubError::Http { source, .. } = &error else { panic!("{error:?}") };
    let cause = source.source().unwrap().to_string();
    assert!(cause.contains("refused"), "{cause}");
    assert!(!source.to_string().contains(&cause) && !error.to_string().contains(&cause));
}

#[test]
fn a_head_that_is_longer_than_any_is_not_read_to_its_end() {
    let with = |length: usize| {
        error_of(move |reply| {
            Answer::Reply(reply.with("X-Long", &"x".repeat(length)).without("X-Repo-Commit"))
        })
    };
    let limit = 1 << 16;
    assert!(matches!(with(limit - 1000), HttpError::Header { name: "X-Repo-Commit", .. }));
    assert!(matches!(with(limit), HttpError::HeaderTooLong { limit: found } if found == limit));
}

#[test]
fn control_characters_of_a_header_are_not_printed() {
    // U+009B begins a command to a terminal. Lower control characters do not pass as a header.
    for name in ["ETag", "X-Repo-Commit", "Content-Length"] {
        let error = error_of(move |reply| Answer::Reply(reply.set(name, "\"\u{9b}2Jx\"")));
        let text = error.to_string();
        assert!(matches!(error, HttpError::Header { .. } | HttpError::Malformed(_)), "{error:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    let error = error_of(|reply| Answer::Reply(reply.set("ETag", "\"\u{1b}[2J\"")));
    assert!(matches!(error, HttpError::Malformed(_)), "{error:?}");
}

#[test]
fn a_repository_that_was_renamed_is_found_under_its_new_name() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    // The old name leads to the new one by a relative redirect, which keeps the token.
    server.play(|_, request, reply| match request.path.strip_prefix("/owner/old/") {
        Some(rest) => {
            Answer::Reply(Reply::new(307).with("Location", &format!("/{REPO}/{rest}")).with_body(Vec::new()))
        }
        None => Answer::Reply(reply),
    });
    let options = options(&server, &cache).with_token("hf_secret").unwrap();
    let snapshot = fetch_text("owner/old", &options).unwrap();
    assert!(snapshot.folder.join("model.safetensors").is_file());
    let at_home = server.take_requests().into_iter().filter(|request| request.place == Place::Hub);
    assert!(at_home.into_iter().all(|request| request.authorization.is_some()));
}

#[test]
fn the_token_does_not_come_home_from_a_foreign_server() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let home = server.endpoint();
    server.play(move |_, request, reply| match request.place {
        Place::Store => redirect(&format!("{home}/stolen/way")),
        Place::Hub => Answer::Reply(reply),
    });
    let options = options(&server, &cache).with_token("hf_secret").unwrap();
    fetch_text(REPO, &options).unwrap_err();
    let requests = server.take_requests();
    let detour = requests.iter().find(|request| request.path == "/stolen/way").unwrap();
    assert!(detour.authorization.is_none());
}
