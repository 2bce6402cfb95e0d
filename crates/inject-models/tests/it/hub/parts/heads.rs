//! Hostile heads of answers, and no heads at all.

use super::Expected::{Late, Refused};
use super::{Answer, Body, PAUSE, Parts};

pub(super) fn all(parts: &mut Parts) {
    parts.any("head: many headers", Refused, |reply| {
        (0..5000).fold(reply, |reply, n| reply.with(&format!("X-{n}"), "y"))
    });
    parts.raw("head: one endless header", Refused, Body::Endless(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec()));
    parts.play("head: endless headers", Refused, |_, _| {
        Answer::Raw(Body::Endless(b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-C: d\r\n".repeat(100)))
    });
    parts.raw(
        "head: endless early hints",
        Refused,
        Body::Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200)),
    );
    parts.raw("head: endless continue", Refused, Body::Endless(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(200)));
    parts.raw("head: zeros without end", Refused, Body::Endless(vec![0; 1 << 12]));
    parts.raw("head: another protocol", Refused, Body::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()));
    parts.raw("head: HTTP/2", Refused, Body::Bytes(b"\0\0\x12\x04\0\0\0\0\0".to_vec()));
    parts.raw("head: nothing", Refused, Body::Bytes(Vec::new()));
    parts.raw("head: half", Refused, Body::Bytes(b"HTTP/1.1 200 OK\r\nX-Repo-".to_vec()));
    parts.raw(
        "head: a byte now and then",
        Late,
        Body::Slow([b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(), vec![b'b'; 200]].concat(), PAUSE),
    );
    parts.raw(
        "head: early hints now and then",
        Late,
        Body::Slow(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), PAUSE),
    );
    parts.raw("head: never", Late, Body::Stuck(Vec::new()));
    parts.any("head: control characters", Refused, |reply| {
        reply.set("ETag", "\"\u{1b}]0;owned\u{7}\"").set("X-Linked-Etag", "\"\u{1b}[31m\"")
    });
}
