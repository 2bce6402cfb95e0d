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

/// The parts so far. What is added says by which play.
#[derive(Default)]
pub(super) struct Parts(Vec<Part>);

impl Parts {
    fn play(
        &mut self,
        name: &str,
        expected: Expected,
        play: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static,
    ) {
        self.0.push(Part { name: name.to_owned(), play: Box::new(play), expected });
    }

    /// The body of an answer that has one, changed.
    fn content(
        &mut self,
        name: &str,
        expected: Expected,
        change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) {
        self.play(name, expected, move |request, reply| {
            Answer::Reply(if is_content(request, &reply) { change(request, reply) } else { reply })
        });
    }

    /// Any answer, changed.
    fn any(
        &mut self,
        name: &str,
        expected: Expected,
        change: impl Fn(Reply) -> Reply + Send + Sync + 'static,
    ) {
        self.play(name, expected, move |_, reply| Answer::Reply(change(reply)));
    }

    /// These bytes in place of an answer.
    fn raw(&mut self, name: &str, expected: Expected, body: Body) {
        self.play(name, expected, move |_, _| Answer::Raw(body.clone()));
    }
}

/// Chunks of a chunked body.
fn chunked(reply: Reply, body: Body) -> Reply {
    Reply { body, ..reply.without("Content-Length").with("Transfer-Encoding", "chunked") }
}

/// The bytes of the honest body as one chunk of a chunked body.
fn one_chunk(reply: &Reply) -> Vec<u8> {
    let bytes = reply.bytes();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
}

/// Files of a size that takes an hour or more at the slowest acceptable pace, announced and then sent in these chunks.
fn large(body: Body) -> Play {
    Box::new(move |request, reply| {
        let size: u64 = match request.path.rsplit('/').next() {
            Some("config.json") => 4 << 20,
            Some("model.safetensors.index.json") => 32 << 20,
            Some("tokenizer.json") => 256 << 20,
            _ => 1 << 30,
        };
        let size = size.to_string();
        Answer::Reply(match (request.method.as_str(), reply.status) {
            ("HEAD", 200) => reply.set("Content-Length", &size),
            ("HEAD", 302) => reply.set("X-Linked-Size", &size),
            // From the beginning, also if the rest was asked for.
            ("GET", 200 | 206) => {
                chunked(Reply { status: 200, ..reply.without("Content-Range") }, body.clone())
            }
            _ => reply,
        })
    })
}

pub(super) fn all(scene: &Scene<'_>) -> Vec<Part> {
    let mut parts = Parts::default();
    etags(scene, &mut parts);
    commits(scene, &mut parts);
    sizes(&mut parts);
    redirects(scene, &mut parts);
    statuses(&mut parts);
    bodies::all(&mut parts);
    heads::all(&mut parts);
    index::all(scene, &mut parts);
    parts.0
}

fn etags(scene: &Scene<'_>, parts: &mut Parts) {
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
        parts.any(&format!("etag: {name}"), Header, move |reply| set_etag(reply, &quoted));
        let (quoted, name) = (format!("\"{etag}\""), format!("linked etag: {name}"));
        parts.any(&name, Header, move |reply| reply.set("X-Linked-Etag", &quoted).set("X-Linked-Size", "2"));
    }
    parts.any("etag: missing", Header, |reply| reply.without("ETag").without("X-Linked-Etag"));
    parts.any("etag: twice", Header, |reply| {
        let name = if reply.status == 302 { "X-Linked-Etag" } else { "ETag" };
        reply.with(name, "\"second\"")
    });
    // Files whose etag is not a hash are kept under their own.
    parts.any("etag: equal for all files", Fetched, |reply| set_etag(reply, "\"same\""));
    parts.any("etag: equal hash for all files", Refused, |reply| {
        set_etag(reply, &format!("\"{}\"", "a".repeat(64)))
    });
    parts.any("etag: equal git hash for all files", Refused, |reply| {
        set_etag(reply, &format!("\"{}\"", "a".repeat(40)))
    });
    parts.any("etag: weak", Fetched, |reply| {
        let etag = reply.header("X-Linked-Etag").or(reply.header("ETag")).unwrap_or_default().to_owned();
        set_etag(reply, &format!("W/{etag}"))
    });
    parts.any("etag: weak and not a hash", Fetched, |reply| set_etag(reply, "W/\"abc-1\""));
}

fn set_etag(reply: Reply, etag: &str) -> Reply {
    let name = if reply.header("X-Linked-Etag").is_some() { "X-Linked-Etag" } else { "ETag" };
    reply.set(name, etag)
}

fn commits(scene: &Scene<'_>, parts: &mut Parts) {
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
        parts.any(&format!("commit: {name}"), Header, move |reply| reply.set("X-Repo-Commit", &commit));
    }
    parts.any("commit: missing", Header, |reply| reply.without("X-Repo-Commit"));
    parts.any("commit: twice", Header, |reply| reply.with("X-Repo-Commit", OTHER_COMMIT));
    // With every answer alike that commit is asked for, and is not there.
    parts.any("commit: another", Error, |reply| reply.set("X-Repo-Commit", OTHER_COMMIT));
}

fn sizes(parts: &mut Parts) {
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
        parts.any(&format!("linked size: {name}"), Error, move |reply| reply.set("X-Linked-Size", size));
        parts.any(&format!("length: {name}"), Error, move |reply| reply.set("Content-Length", size));
    }
    parts.any("linked size: missing", Header, |reply| reply.without("X-Linked-Size"));
    parts.any("length: twice", Refused, |reply| reply.with("Content-Length", "1"));
    parts.any("length: missing", Refused, |reply| reply.without("Content-Length"));
}

fn redirects(scene: &Scene<'_>, parts: &mut Parts) {
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
            parts.play(&format!("{status} to {name}"), Error, move |_, reply| {
                Answer::Reply(Reply { status, ..reply.set("Location", &to) })
            });
        }
    }
    for status in [301, 302, 303, 307, 308] {
        parts.any(&format!("{status} without a Location"), Refused, move |reply| Reply {
            status,
            ..reply.without("Location")
        });
    }
    let twice = format!("http://{spy}/y");
    parts.any("two Locations", Refused, move |reply| Reply {
        status: 302,
        ..reply.set("Location", "/x").with("Location", &twice)
    });
}

fn statuses(parts: &mut Parts) {
    for status in [201, 204, 206, 300, 304, 305, 401, 402, 403, 404, 416, 429, 500, 502, 503, 599, 999] {
        parts.any(&format!("status {status} with the honest headers"), Error, move |reply| Reply {
            status,
            ..reply
        });
        parts.play(&format!("status {status} alone"), Error, move |_, _| Answer::Reply(refusal(status, "")));
    }
    parts.any("status 404 for a file that is there", Error, |_| {
        refusal(404, "EntryNotFound").with("X-Repo-Commit", COMMIT)
    });
    parts.any("status 101", Refused, |reply| Reply { status: 101, ..reply });
    parts.raw("status 099", Refused, Body::Bytes(b"HTTP/1.1 099 No\r\n\r\n".to_vec()));
}
