//! The parts that a hostile Hub plays.

mod bodies;
mod heads;
mod index;

use std::{path::Path, time::Duration};

use inject_models::hub::{HttpError, HubError, Snapshot};

use super::server::{Answer, Body, COMMIT, Reply, Request, refusal};
use Expected::{Anything, Error, Fetched, Header, Late, Refused};

type Play = Box<dyn Fn(&Request, Reply) -> Answer + Send + Sync>;
pub(super) struct Part {
    pub(super) name: String,
    pub(super) play: Play,
    pub(super) expected: Expected,
}

/// The right outcome if every answer is of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    Fetched,
    /// Any error.
    Error,
    /// An error that a server is to blame for.
    Refused,
    /// An error about a header.
    Header,
    /// A timeout. Only with these parts must the client not be patient.
    Late,
    Anything,
}

impl Expected {
    pub(super) fn is_met(self, outcome: &Result<Snapshot, HubError>) -> bool {
        use HttpError::{Header, Timeout, TooSlow};
        match self {
            Fetched => outcome.is_ok(),
            Error => outcome.is_err(),
            Refused => matches!(outcome, Err(HubError::Http { .. })),
            Expected::Header => matches!(outcome, Err(HubError::Http { source: Header { .. }, .. })),
            Late => matches!(outcome, Err(HubError::Http { source: Timeout(_) | TooSlow { .. }, .. })),
            Anything => true,
        }
    }
}

/// The places that a hostile answer may point to.
pub(super) struct Scene<'a> {
    /// A foreign server, as `host:port`.
    pub(super) spy: &'a str,
    /// A file outside the cache.
    pub(super) canary: &'a Path,
}

const OTHER_COMMIT: &str = "2222222222222222222222222222222222222222";
const PAUSE: Duration = Duration::from_millis(60);

fn is_content(request: &Request, reply: &Reply) -> bool {
    request.method == "GET" && matches!(reply.status, 200 | 206)
}

/// The body of an answer that has one, changed.
fn content(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Play {
    Box::new(move |request, reply| {
        Answer::Reply(if is_content(request, &reply) { change(request, reply) } else { reply })
    })
}

fn any(change: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Play {
    Box::new(move |_, reply| Answer::Reply(change(reply)))
}

fn raw(body: Body) -> Play {
    Box::new(move |_, _| Answer::Raw(body.clone()))
}

/// Chunks of a chunked body.
fn chunked(reply: Reply, body: Body) -> Reply {
    Reply { body, ..reply.without("Content-Length").with("Transfer-Encoding", "chunked") }
}

pub(super) fn all(scene: &Scene<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |name: &str, expected: Expected, play: Play| {
        parts.push(Part { name: name.to_owned(), play, expected });
    };
    etags(scene, &mut add);
    commits(scene, &mut add);
    sizes(&mut add);
    redirects(scene, &mut add);
    statuses(&mut add);
    bodies::all(&mut add);
    heads::all(&mut add);
    index::all(scene, &mut add);
    parts
}

type Add<'a> = &'a mut dyn FnMut(&str, Expected, Play);

fn etags(scene: &Scene<'_>, add: Add<'_>) {
    let canary = scene.canary.display().to_string();
    let long = "a".repeat(60_000);
    for (name, etag) in [
        ("an absolute path", canary.as_str()),
        ("a path upwards", "../../../../canary"),
        ("a path upwards from blobs", "../refs/main"),
        ("two dots", ".."),
        ("empty", ""),
        ("very long", &long),
        ("a lock", "config.lock"),
        ("a part", "config.part"),
        ("an unfinished file", "config.incomplete"),
        ("a hidden file", ".verified"),
        ("a backslash", "..\\..\\x"),
        ("not ASCII", "\u{e9}\u{9b}2J"),
    ] {
        let quoted = format!("\"{etag}\"");
        add(&format!("etag: {name}"), Header, any(move |reply| set_etag(reply, &quoted)));
        let (quoted, name) = (format!("\"{etag}\""), format!("linked etag: {name}"));
        add(&name, Header, any(move |reply| reply.set("X-Linked-Etag", &quoted).set("X-Linked-Size", "2")));
    }
    add("etag: missing", Header, any(|reply| reply.without("ETag").without("X-Linked-Etag")));
    add(
        "etag: twice",
        Header,
        any(|reply| {
            let name = if reply.status == 302 { "X-Linked-Etag" } else { "ETag" };
            reply.with(name, "\"second\"")
        }),
    );
    // Files whose etag is not a hash are kept under their own.
    add("etag: equal for all files", Fetched, any(|reply| set_etag(reply, "\"same\"")));
    add(
        "etag: equal hash for all files",
        Refused,
        any(|reply| set_etag(reply, &format!("\"{}\"", "a".repeat(64)))),
    );
    add(
        "etag: equal git hash for all files",
        Refused,
        any(|reply| set_etag(reply, &format!("\"{}\"", "a".repeat(40)))),
    );
    add(
        "etag: weak",
        Fetched,
        any(|reply| {
            let etag = reply.header("X-Linked-Etag").or(reply.header("ETag")).unwrap_or_default().to_owned();
            set_etag(reply, &format!("W/{etag}"))
        }),
    );
    add("etag: weak and not a hash", Fetched, any(|reply| set_etag(reply, "W/\"abc-1\"")));
}

fn set_etag(reply: Reply, etag: &str) -> Reply {
    let name = if reply.header("X-Linked-Etag").is_some() { "X-Linked-Etag" } else { "ETag" };
    reply.set(name, etag)
}

fn commits(scene: &Scene<'_>, add: Add<'_>) {
    let canary = scene.canary.display().to_string();
    for (name, commit) in [
        ("an absolute path", canary.as_str()),
        ("a path upwards", "../../../../canary"),
        ("dots", ".."),
        ("empty", ""),
        ("very long", &"1".repeat(60_000)),
        ("short", "1111111"),
        ("upper case", &"A".repeat(40)),
        ("a branch", "main"),
        ("a lock", "1111111111111111111111111111111111111111.lock"),
        ("a part", "1111111111111111111111111111111111111111.part"),
    ] {
        let commit = commit.to_owned();
        add(&format!("commit: {name}"), Header, any(move |reply| reply.set("X-Repo-Commit", &commit)));
    }
    add("commit: missing", Header, any(|reply| reply.without("X-Repo-Commit")));
    add("commit: twice", Header, any(|reply| reply.with("X-Repo-Commit", OTHER_COMMIT)));
    // With every answer alike that commit is asked for, and is not there.
    add("commit: another", Error, any(|reply| reply.set("X-Repo-Commit", OTHER_COMMIT)));
}

fn sizes(add: Add<'_>) {
    for (name, size) in [
        ("huge", "99999999999999999999999"),
        ("u64::MAX", "18446744073709551615"),
        ("a terabyte", "1099511627776"),
        ("negative", "-1"),
        ("zero", "0"),
        ("a star", "*"),
        ("a plus", "+2"),
        ("empty", ""),
        ("a float", "2.0"),
    ] {
        add(&format!("linked size: {name}"), Error, any(move |reply| reply.set("X-Linked-Size", size)));
        add(&format!("length: {name}"), Error, any(move |reply| reply.set("Content-Length", size)));
    }
    add("linked size: missing", Header, any(|reply| reply.without("X-Linked-Size")));
    add("length: twice", Refused, any(|reply| reply.with("Content-Length", "1")));
    add("length: missing", Refused, any(|reply| reply.without("Content-Length")));
}

fn redirects(scene: &Scene<'_>, add: Add<'_>) {
    let spy = scene.spy;
    for (name, to) in [
        ("another port", format!("http://{spy}/x")),
        ("another host", format!("http://localhost:{}/x", spy.rsplit(':').next().unwrap_or_default())),
        ("another scheme", format!("https://{spy}/x")),
        ("the scheme of the request", format!("//{spy}/x")),
        ("a user name", format!("http://hf:token@{spy}/x")),
        ("a file", "file:///etc/passwd".to_owned()),
        ("ftp", format!("ftp://{spy}/x")),
        ("a relative loop", "config.json".to_owned()),
        ("an absolute loop", "/owner/tiny/resolve/main/config.json".to_owned()),
        ("a growing path", "more/".to_owned()),
        ("nowhere", String::new()),
        ("a long way", format!("/{}", "x".repeat(50_000))),
        ("a path upwards", "/../../../../../etc/passwd".to_owned()),
        ("a bad port", "http://127.0.0.1:99999/".to_owned()),
        ("port zero", "http://127.0.0.1:0/".to_owned()),
        ("spaces", "http://127.0.0.1/ /".to_owned()),
    ] {
        for status in [302, 307] {
            let to = to.clone();
            add(
                &format!("{status} to {name}"),
                Error,
                Box::new(move |_, reply| Answer::Reply(Reply { status, ..reply.set("Location", &to) })),
            );
        }
    }
    for status in [301, 302, 303, 307, 308] {
        add(
            &format!("{status} without a Location"),
            Refused,
            any(move |reply| Reply { status, ..reply.without("Location") }),
        );
    }
    let twice = format!("http://{spy}/y");
    add(
        "two Locations",
        Refused,
        any(move |reply| Reply { status: 302, ..reply.set("Location", "/x").with("Location", &twice) }),
    );
}

fn statuses(add: Add<'_>) {
    for status in [201, 204, 206, 300, 304, 305, 401, 402, 403, 404, 416, 429, 500, 502, 503, 599, 999] {
        add(
            &format!("status {status} with the honest headers"),
            Error,
            any(move |reply| Reply { status, ..reply }),
        );
        add(
            &format!("status {status} alone"),
            Error,
            Box::new(move |_, _| Answer::Reply(refusal(status, ""))),
        );
    }
    // The commit is the right one, and so is the reason that the Hub gives for a file that is not there.
    add(
        "status 404 of a file that is there",
        Error,
        Box::new(|_, _| Answer::Reply(refusal(404, "EntryNotFound").with("X-Repo-Commit", COMMIT))),
    );
    add("status 101", Refused, any(|reply| Reply { status: 101, ..reply }));
    add("status 099", Refused, raw(Body::Bytes(b"HTTP/1.1 099 No\r\n\r\n".to_vec())));
}
