//! The parts that a hostile Hub plays.

use std::{path::Path, time::Duration};

use inject_models::hub::{HttpError, HubError, Snapshot};

use super::server::{Answer, Body, Reply, Request, refusal};

type Play = Box<dyn Fn(&Request, Reply) -> Answer + Send + Sync>;
type Outcome<'a> = Result<&'a Snapshot, &'a HubError>;

pub(super) struct Part {
    pub(super) name: String,
    pub(super) play: Play,
    /// Whether the outcome is right if every answer is of this kind.
    pub(super) expected: fn(Outcome<'_>) -> bool,
}

/// Where a hostile answer may point.
pub(super) struct Scene<'a> {
    /// A foreign server, as `host:port`.
    pub(super) spy: &'a str,
    /// A file outside the cache.
    pub(super) canary: &'a Path,
}

const OTHER_COMMIT: &str = "2222222222222222222222222222222222222222";
const PAUSE: Duration = Duration::from_millis(60);

fn refused(outcome: Outcome<'_>) -> bool {
    matches!(outcome, Err(HubError::Http { .. }))
}

fn header(outcome: Outcome<'_>) -> bool {
    matches!(outcome, Err(HubError::Http { source: HttpError::Header { .. }, .. }))
}

fn late(outcome: Outcome<'_>) -> bool {
    matches!(outcome, Err(HubError::Http { source: HttpError::Timeout(_) | HttpError::TooSlow { .. }, .. }))
}

fn fetched(outcome: Outcome<'_>) -> bool {
    outcome.is_ok()
}

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
    let mut add = |name: &str, expected: fn(Outcome<'_>) -> bool, play: Play| {
        parts.push(Part { name: name.to_owned(), play, expected });
    };
    etags(scene, &mut add);
    commits(scene, &mut add);
    sizes(&mut add);
    redirects(scene, &mut add);
    statuses(&mut add);
    bodies(&mut add);
    heads(&mut add);
    parts
}

type Add<'a> = &'a mut dyn FnMut(&str, fn(Outcome<'_>) -> bool, Play);

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
        add(&format!("etag: {name}"), header, any(move |reply| set_etag(reply, &quoted)));
        let (quoted, name) = (format!("\"{etag}\""), format!("linked etag: {name}"));
        add(&name, header, any(move |reply| reply.set("X-Linked-Etag", &quoted).set("X-Linked-Size", "2")));
    }
    add("etag: missing", header, any(|reply| reply.without("ETag").without("X-Linked-Etag")));
    add(
        "etag: twice",
        header,
        any(|reply| {
            let name = if reply.status == 302 { "X-Linked-Etag" } else { "ETag" };
            reply.with(name, "\"second\"")
        }),
    );
    // Files whose etag is not a hash are kept under their own.
    add("etag: equal for all files", fetched, any(|reply| set_etag(reply, "\"same\"")));
    add(
        "etag: equal hash for all files",
        refused,
        any(|reply| set_etag(reply, &format!("\"{}\"", "a".repeat(64)))),
    );
    add(
        "etag: equal git hash for all files",
        refused,
        any(|reply| set_etag(reply, &format!("\"{}\"", "a".repeat(40)))),
    );
    add(
        "etag: weak",
        fetched,
        any(|reply| {
            let etag = reply.header("X-Linked-Etag").or(reply.header("ETag")).unwrap_or_default().to_owned();
            set_etag(reply, &format!("W/{etag}"))
        }),
    );
    add("etag: weak and not a hash", fetched, any(|reply| set_etag(reply, "W/\"abc-1\"")));
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
    ] {
        let commit = commit.to_owned();
        add(&format!("commit: {name}"), header, any(move |reply| reply.set("X-Repo-Commit", &commit)));
    }
    add("commit: missing", header, any(|reply| reply.without("X-Repo-Commit")));
    add("commit: twice", header, any(|reply| reply.with("X-Repo-Commit", OTHER_COMMIT)));
    // With every answer alike that commit is asked for, and is not there.
    add("commit: another", |outcome| outcome.is_err(), any(|reply| reply.set("X-Repo-Commit", OTHER_COMMIT)));
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
        add(
            &format!("linked size: {name}"),
            |outcome| outcome.is_err(),
            any(move |reply| reply.set("X-Linked-Size", size)),
        );
        add(
            &format!("length: {name}"),
            |outcome| outcome.is_err(),
            any(move |reply| reply.set("Content-Length", size)),
        );
    }
    add("length: twice", refused, any(|reply| reply.with("Content-Length", "1")));
    add("length: missing", refused, any(|reply| reply.without("Content-Length")));
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
            let expected: fn(Outcome<'_>) -> bool = |outcome| outcome.is_err();
            add(
                &format!("{status} to {name}"),
                expected,
                Box::new(move |_, reply| Answer::Reply(Reply { status, ..reply.set("Location", &to) })),
            );
        }
    }
    for status in [301, 302, 303, 307, 308] {
        add(
            &format!("{status} without a Location"),
            refused,
            any(move |reply| Reply { status, ..reply.without("Location") }),
        );
    }
    let twice = format!("http://{spy}/y");
    add(
        "two Locations",
        refused,
        any(move |reply| Reply { status: 302, ..reply.set("Location", "/x").with("Location", &twice) }),
    );
}

fn statuses(add: Add<'_>) {
    for status in [201, 204, 206, 300, 304, 305, 401, 402, 403, 404, 416, 429, 500, 502, 503, 599, 999] {
        add(
            &format!("status {status} with the honest headers"),
            |outcome| outcome.is_err(),
            any(move |reply| Reply { status, ..reply }),
        );
        add(
            &format!("status {status} alone"),
            |outcome| outcome.is_err(),
            Box::new(move |_, _| Answer::Reply(refusal(status, ""))),
        );
    }
    add("status 101", refused, any(|reply| Reply { status: 101, ..reply }));
    add("status 099", refused, raw(Body::Bytes(b"HTTP/1.1 099 No\r\n\r\n".to_vec())));
}

fn bodies(add: Add<'_>) {
    add(
        "body: too long",
        refused,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            reply.with_body(bytes)
        }),
    );
    add(
        "body: too long without a length",
        refused,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            Reply { body: Body::Bytes(bytes), ..reply.without("Content-Length") }
        }),
    );
    add(
        "body: longer than its length",
        fetched,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            Reply { body: Body::Bytes(bytes), ..reply }
        }),
    );
    add(
        "body: too short",
        refused,
        content(|_, reply| {
            let bytes = reply.bytes();
            reply.with_body(bytes[1..].to_vec())
        }),
    );
    add("body: empty", refused, content(|_, reply| reply.with_body(Vec::new())));
    add(
        "body: endless",
        refused,
        content(|_, reply| Reply {
            body: Body::Endless(vec![b'x'; 1 << 16]),
            ..reply.without("Content-Length")
        }),
    );
    add(
        "body: endless to every question",
        |outcome| outcome.is_err(),
        any(|reply| Reply { body: Body::Endless(vec![b'x'; 1 << 16]), ..reply.without("Content-Length") }),
    );
    add(
        "body: endless chunks",
        refused,
        content(|_, reply| chunked(reply, Body::Endless(b"4\r\nxxxx\r\n".to_vec()))),
    );
    add(
        "body: endless chunk length",
        refused,
        content(|_, reply| chunked(reply, Body::Endless(b"0".to_vec()))),
    );
    add(
        "body: endless chunk extension",
        refused,
        content(|_, reply| {
            chunked(reply, Body::Endless(b"1;".iter().copied().chain([b'x'; 1000]).collect()))
        }),
    );
    add(
        "body: a chunk of more than there is",
        refused,
        content(|_, reply| chunked(reply, Body::Bytes(b"ffffffffffffffff\r\nx".to_vec()))),
    );
    add(
        "body: cut, and resumed as another",
        |_| true,
        content(|request, reply| {
            let bytes = reply.bytes();
            match request.range {
                None => Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply },
                Some(_) => reply.with_body(vec![b'x'; bytes.len()]),
            }
        }),
    );
    add(
        "body: cut, and whole for the rest",
        fetched,
        content(|request, reply| {
            let bytes = reply.bytes();
            match request.range {
                None => Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply },
                // The range is ignored as far as the status goes, too.
                Some(_) => Reply { status: 206, ..reply },
            }
        }),
    );
    add(
        "body: cut, and 200 with the rest alone",
        refused,
        content(|request, reply| {
            let bytes = reply.bytes();
            match request.range {
                None => Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply },
                Some(_) => Reply { status: 200, ..reply.without("Content-Range") },
            }
        }),
    );
    add(
        "body: cut, and another range",
        refused,
        content(|request, reply| {
            let bytes = reply.bytes();
            match request.range {
                None => Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply },
                Some(_) => reply.set("Content-Range", "bytes 0-1/2"),
            }
        }),
    );
    add(
        "body: a range that nobody asked for",
        refused,
        content(|_, reply| Reply { status: 206, ..reply.set("Content-Range", "bytes 0-1/2") }),
    );
    add(
        "body: gzip",
        refused,
        content(|_, reply| reply.with("Content-Encoding", "gzip").with_body(BOMB.to_vec())),
    );
    add("body: gzip in every answer", refused, any(|reply| reply.set("Content-Encoding", "gzip")));
    add(
        "body: gzip as a transfer",
        refused,
        content(|_, reply| {
            reply
                .without("Content-Length")
                .with("Transfer-Encoding", "gzip, chunked")
                .with_body(BOMB.to_vec())
        }),
    );
    add(
        "body: a bomb of the right length",
        refused,
        content(|_, reply| {
            let length = reply.bytes().len();
            reply
                .with("Content-Encoding", "gzip")
                .with_body(BOMB.iter().copied().cycle().take(length).collect())
        }),
    );
    add(
        "body: the right length and the wrong content",
        refused,
        content(|_, reply| {
            let length = reply.bytes().len();
            reply.with_body(vec![b'x'; length])
        }),
    );
    add(
        "body: one bit wrong",
        refused,
        content(|_, reply| {
            let mut bytes = reply.bytes();
            bytes[0] ^= 1;
            reply.with_body(bytes)
        }),
    );
    add(
        "body: a byte now and then",
        late,
        content(|_, reply| {
            let bytes = reply.bytes();
            Reply {
                body: Body::Slow([bytes, vec![b'x'; 200]].concat(), PAUSE),
                ..reply.without("Content-Length")
            }
        }),
    );
    add("body: never", late, content(|_, reply| Reply { body: Body::Stuck(Vec::new()), ..reply }));
    add(
        "body: all but the last byte",
        late,
        content(|_, reply| {
            let bytes = reply.bytes();
            Reply { body: Body::Stuck(bytes[..bytes.len() - 1].to_vec()), ..reply }
        }),
    );
    add(
        "body: a chunk length that never ends",
        late,
        content(|_, reply| chunked(reply, Body::Slow(vec![b'0'; 200], PAUSE))),
    );
}

/// A gzip stream of zeros, as far as it goes.
const BOMB: [u8; 16] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 0x31, 1, 0, 0];

fn heads(add: Add<'_>) {
    add(
        "head: many headers",
        refused,
        any(|reply| (0..5000).fold(reply, |reply, n| reply.with(&format!("X-{n}"), "y"))),
    );
    add("head: one endless header", refused, raw(Body::Endless(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec())));
    add(
        "head: endless headers",
        refused,
        Box::new(|_, _| Answer::Raw(Body::Endless(b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-C: d\r\n".repeat(100)))),
    );
    add(
        "head: endless early hints",
        refused,
        raw(Body::Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200))),
    );
    add("head: endless continue", refused, raw(Body::Endless(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(200))));
    add("head: zeros without end", refused, raw(Body::Endless(vec![0; 1 << 12])));
    add("head: another protocol", refused, raw(Body::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())));
    add("head: HTTP/2", refused, raw(Body::Bytes(b"\0\0\x12\x04\0\0\0\0\0".to_vec())));
    add("head: nothing", refused, raw(Body::Bytes(Vec::new())));
    add("head: half", refused, raw(Body::Bytes(b"HTTP/1.1 200 OK\r\nX-Repo-".to_vec())));
    add(
        "head: a byte now and then",
        late,
        raw(Body::Slow([b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(), vec![b'b'; 200]].concat(), PAUSE)),
    );
    add(
        "head: early hints now and then",
        late,
        raw(Body::Slow(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), PAUSE)),
    );
    add("head: never", late, raw(Body::Stuck(Vec::new())));
    add(
        "head: control characters",
        refused,
        any(|reply| reply.set("ETag", "\"\u{1b}]0;owned\u{7}\"").set("X-Linked-Etag", "\"\u{1b}[31m\"")),
    );
}
