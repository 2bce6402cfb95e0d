//! Hostile bodies.

use std::sync::LazyLock;

use super::Expected::{Anything, Error, Fetched, Late, Refused};
use super::{Body, PAUSE, Parts, Reply, chunked, large, one_chunk};

pub(super) fn all(parts: &mut Parts) {
    parts.content("body: too long", Refused, |_, reply| {
        let longer = longer(reply);
        let bytes = longer.bytes();
        longer.with_body(bytes)
    });
    parts.content("body: too long without a length", Fetched, |_, reply| {
        longer(reply.without("Content-Length"))
    });
    parts.content("body: longer than its length", Fetched, |_, reply| longer(reply));
    parts.content("body: too short", Refused, |_, reply| {
        let bytes = reply.bytes();
        reply.with_body(bytes[1..].to_vec())
    });
    parts.content("body: empty", Refused, |_, reply| reply.with_body(Vec::new()));
    parts.content("body: endless", Refused, |_, reply| Reply {
        body: Body::Endless(vec![b'x'; 1 << 16]),
        ..reply.without("Content-Length")
    });
    parts.any("body: endless to every question", Error, |reply| Reply {
        body: Body::Endless(vec![b'x'; 1 << 16]),
        ..reply.without("Content-Length")
    });
    parts.content("body: endless chunks", Refused, |_, reply| {
        chunked(reply, Body::Endless(b"4\r\nxxxx\r\n".to_vec()))
    });
    parts.content("body: endless chunk length", Refused, |_, reply| {
        chunked(reply, Body::Endless(vec![b'0'; 1 << 12]))
    });
    parts.content("body: endless chunk extension", Refused, |_, reply| {
        chunked(reply, Body::Endless(b"1;".iter().copied().chain([b'x'; 1000]).collect()))
    });
    parts.content("body: a chunk of more than there is", Refused, |_, reply| {
        chunked(reply, Body::Bytes(b"ffffffffffffffff\r\nx".to_vec()))
    });
    parts.content("body: cut, and resumed as another", Anything, |request, reply| match request.range {
        None => half(reply),
        Some(_) => {
            let length = reply.bytes().len();
            reply.with_body(vec![b'x'; length])
        }
    });
    parts.content("body: cut, and whole for the rest", Fetched, |request, reply| match request.range {
        None => half(reply),
        // The range is ignored as far as the status goes, too.
        Some(_) => Reply { status: 206, ..reply },
    });
    parts.content("body: cut, and 200 with the rest alone", Refused, |request, reply| match request.range {
        None => half(reply),
        Some(_) => Reply { status: 200, ..reply.without("Content-Range") },
    });
    parts.content("body: cut, and another range", Refused, |request, reply| match request.range {
        None => half(reply),
        Some(_) => reply.set("Content-Range", "bytes 0-1/2"),
    });
    parts.content("body: a range that nobody asked for", Refused, |_, reply| Reply {
        status: 206,
        ..reply.set("Content-Range", "bytes 0-1/2")
    });
    parts.content("body: a gzip bomb", Refused, |_, reply| {
        reply.with("Content-Encoding", "gzip").with_body(BOMB.clone())
    });
    parts.any("body: an encoding with a long name", Refused, |reply| {
        reply.set("Content-Encoding", &"x".repeat(50_000))
    });
    parts.any("body: gzip in every answer", Refused, |reply| reply.set("Content-Encoding", "gzip"));
    parts.content("body: gzip as a transfer", Refused, |_, reply| {
        reply.without("Content-Length").with("Transfer-Encoding", "gzip, chunked").with_body(BOMB.clone())
    });
    parts.content("body: a bomb of the right length", Refused, |_, reply| {
        let length = reply.bytes().len();
        reply.with("Content-Encoding", "gzip").with_body(BOMB.iter().copied().cycle().take(length).collect())
    });
    parts.content("body: the right length and the wrong content", Refused, |_, reply| {
        let length = reply.bytes().len();
        reply.with_body(vec![b'x'; length])
    });
    parts.content("body: one bit wrong", Refused, |_, reply| {
        let mut bytes = reply.bytes();
        bytes[0] ^= 1;
        reply.with_body(bytes)
    });
    parts.content("body: a byte now and then", Late, |_, reply| {
        let bytes = reply.bytes();
        Reply {
            body: Body::Slow([bytes, vec![b'x'; 200]].concat(), PAUSE),
            ..reply.without("Content-Length")
        }
    });
    parts.content("body: never", Late, |_, reply| Reply { body: Body::Stuck(Vec::new()), ..reply });
    parts.content("body: all but the last byte", Late, |_, reply| {
        let bytes = reply.bytes();
        Reply { body: Body::Stuck(bytes[..bytes.len() - 1].to_vec()), ..reply }
    });
    parts.content("body: a chunk length that never ends", Late, |_, reply| {
        chunked(reply, Body::Slow(vec![b'0'; 200], PAUSE))
    });
    slow_and_large(parts);
    after_the_whole(parts);
}

/// The honest body and more, under the honest headers.
fn longer(reply: Reply) -> Reply {
    Reply { body: Body::Bytes([reply.bytes(), b"and more".to_vec()].concat()), ..reply }
}

/// Half of the honest body, under the honest headers.
fn half(reply: Reply) -> Reply {
    let bytes = reply.bytes();
    Reply { body: Body::Bytes(bytes[..bytes.len() / 2].to_vec()), ..reply }
}

/// More than a client that hangs waits for, a byte at a time.
const LONG: usize = 3000;

/// Bodies of large files that bring bytes and hardly any content.
fn slow_and_large(parts: &mut Parts) {
    for (name, first, then) in [
        ("a digit of a chunk length now and then", "", "0"),
        ("a digit of a chunk length now and then after some content", "5\r\nxxxxx\r\n", "0"),
        ("a byte of a chunk extension now and then", "5;", "x"),
        ("a chunk of a byte now and then", "", "1\r\nx\r\n"),
    ] {
        let slow = Body::Slow(then.bytes().cycle().take(LONG).collect(), PAUSE);
        let body = Body::Before(first.into(), Box::new(slow));
        parts.play(&format!("body: large, {name}"), Late, large(body));
    }
}

/// Bodies that bring the whole content, and have no end.
fn after_the_whole(parts: &mut Parts) {
    for (name, rest) in [
        ("a digit of a chunk length now and then", Body::Slow(vec![b'0'; LONG], PAUSE)),
        ("the end of the chunks never", Body::Stuck(Vec::new())),
        ("a trailer now and then", Body::Before(b"0\r\n".into(), Box::new(slow_trailers()))),
        (
            "trailers without end",
            Body::Before(b"0\r\n".into(), Box::new(Body::Endless(b"X: y\r\n".repeat(200)))),
        ),
    ] {
        parts.content(&format!("body: whole, and then {name}"), Fetched, move |_, reply| {
            let whole = one_chunk(&reply);
            chunked(reply, Body::Before(whole, Box::new(rest.clone())))
        });
    }
    parts.play("body: whole but not known to be, and then a trailer now and then", Late, |request, reply| {
        let reply = reply.set("ETag", "\"no-hash\"").without("X-Linked-Etag");
        super::Answer::Reply(match super::is_content(request, &reply) {
            true => {
                let whole = [one_chunk(&reply), b"0\r\n".into()].concat();
                chunked(reply, Body::Before(whole, Box::new(slow_trailers())))
            }
            false => reply,
        })
    });
}

fn slow_trailers() -> Body {
    Body::Slow(b"X: y\r\n".iter().copied().cycle().take(LONG).collect(), PAUSE)
}

/// A gzip stream of 64 MiB of zeros in 400 KB, without its checksum: a zero, and repetitions of it, in a block of fixed codes.
///
/// # Source
///
/// RFC 1951, 3.2.6, and RFC 1952, 2.3.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // The last block, of fixed codes; the byte 0.
    const BEGIN: [u8; 11] = [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    // 258 bytes, copied from one byte before.
    const REPEAT: [u8; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    const END: [u8; 7] = [0; 7];
    let repeats = REPEAT.iter().cycle().take((1 << 18) * REPEAT.len());
    let bits: Vec<u8> = BEGIN.iter().chain(repeats).chain(&END).copied().collect();
    let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | bit));
    HEAD.into_iter().chain(bytes).collect()
});
