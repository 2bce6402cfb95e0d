//! Hostile heads of answers, and no heads at all.

use super::Expected::{Late, Refused};
use super::{Add, Answer, Body, PAUSE, any, raw};

pub(super) fn all(add: Add<'_>) {
    add(
        "head: many headers",
        Refused,
        any(|reply| (0..5000).fold(reply, |reply, n| reply.with(&format!("X-{n}"), "y"))),
    );
    add("head: one endless header", Refused, raw(Body::Endless(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec())));
    add(
        "head: endless headers",
        Refused,
        Box::new(|_, _| Answer::Raw(Body::Endless(b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-C: d\r\n".repeat(100)))),
    );
    add(
        "head: endless early hints",
        Refused,
        raw(Body::Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200))),
    );
    add("head: endless continue", Refused, raw(Body::Endless(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(200))));
    add("head: zeros without end", Refused, raw(Body::Endless(vec![0; 1 << 12])));
    add("head: another protocol", Refused, raw(Body::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())));
    add("head: HTTP/2", Refused, raw(Body::Bytes(b"\0\0\x12\x04\0\0\0\0\0".to_vec())));
    add("head: nothing", Refused, raw(Body::Bytes(Vec::new())));
    add("head: half", Refused, raw(Body::Bytes(b"HTTP/1.1 200 OK\r\nX-Repo-".to_vec())));
    add(
        "head: a byte now and then",
        Late,
        raw(Body::Slow([b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(), vec![b'b'; 200]].concat(), PAUSE)),
    );
    add(
        "head: early hints now and then",
        Late,
        raw(Body::Slow(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), PAUSE)),
    );
    add("head: never", Late, raw(Body::Stuck(Vec::new())));
    add(
        "head: control characters",
        Refused,
        any(|reply| reply.set("ETag", "\"\u{1b}]0;owned\u{7}\"").set("X-Linked-Etag", "\"\u{1b}[31m\"")),
    );
}
