//! Hostile bodies.

use std::sync::LazyLock;

use super::Expected::{Anything, Error, Fetched, Late, Refused};
use super::{Add, Body, PAUSE, Reply, any, chunked, content};

pub(super) fn all(add: Add<'_>) {
    add(
        "body: too long",
        Refused,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            reply.with_body(bytes)
        }),
    );
    add(
        "body: too long without a length",
        Refused,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            Reply { body: Body::Bytes(bytes), ..reply.without("Content-Length") }
        }),
    );
    add(
        "body: longer than its length",
        Fetched,
        content(|_, reply| {
            let bytes = [reply.bytes(), b"and more".to_vec()].concat();
            Reply { body: Body::Bytes(bytes), ..reply }
        }),
    );
    add(
        "body: too short",
        Refused,
        content(|_, reply| {
            let bytes = reply.bytes();
            reply.with_body(bytes[1..].to_vec())
        }),
    );
    add("body: empty", Refused, content(|_, reply| reply.with_body(Vec::new())));
    add(
        "body: endless",
        Refused,
        content(|_, reply| Reply {
            body: Body::Endless(vec![b'x'; 1 << 16]),
            ..reply.without("Content-Length")
        }),
    );
    add(
        "body: endless to every question",
        Error,
        any(|reply| Reply { body: Body::Endless(vec![b'x'; 1 << 16]), ..reply.without("Content-Length") }),
    );
    add(
        "body: endless chunks",
        Refused,
        content(|_, reply| chunked(reply, Body::Endless(b"4\r\nxxxx\r\n".to_vec()))),
    );
    add(
        "body: endless chunk length",
        Refused,
        content(|_, reply| chunked(reply, Body::Endless(vec![b'0'; 1 << 12]))),
    );
    add(
        "body: endless chunk extension",
        Refused,
        content(|_, reply| {
            chunked(reply, Body::Endless(b"1;".iter().copied().chain([b'x'; 1000]).collect()))
        }),
    );
    add(
        "body: a chunk of more than there is",
        Refused,
        content(|_, reply| chunked(reply, Body::Bytes(b"ffffffffffffffff\r\nx".to_vec()))),
    );
    add(
        "body: cut, and resumed as another",
        Anything,
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
        Fetched,
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
        Refused,
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
        Refused,
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
        Refused,
        content(|_, reply| Reply { status: 206, ..reply.set("Content-Range", "bytes 0-1/2") }),
    );
    add(
        "body: a gzip bomb",
        Refused,
        content(|_, reply| reply.with("Content-Encoding", "gzip").with_body(BOMB.clone())),
    );
    add(
        "body: an encoding with a long name",
        Refused,
        any(|reply| reply.set("Content-Encoding", &"x".repeat(50_000))),
    );
    add("body: gzip in every answer", Refused, any(|reply| reply.set("Content-Encoding", "gzip")));
    add(
        "body: gzip as a transfer",
        Refused,
        content(|_, reply| {
            reply.without("Content-Length").with("Transfer-Encoding", "gzip, chunked").with_body(BOMB.clone())
        }),
    );
    add(
        "body: a bomb of the right length",
        Refused,
        content(|_, reply| {
            let length = reply.bytes().len();
            reply
                .with("Content-Encoding", "gzip")
                .with_body(BOMB.iter().copied().cycle().take(length).collect())
        }),
    );
    add(
        "body: the right length and the wrong content",
        Refused,
        content(|_, reply| {
            let length = reply.bytes().len();
            reply.with_body(vec![b'x'; length])
        }),
    );
    add(
        "body: one bit wrong",
        Refused,
        content(|_, reply| {
            let mut bytes = reply.bytes();
            bytes[0] ^= 1;
            reply.with_body(bytes)
        }),
    );
    add(
        "body: a byte now and then",
        Late,
        content(|_, reply| {
            let bytes = reply.bytes();
            Reply {
                body: Body::Slow([bytes, vec![b'x'; 200]].concat(), PAUSE),
                ..reply.without("Content-Length")
            }
        }),
    );
    add("body: never", Late, content(|_, reply| Reply { body: Body::Stuck(Vec::new()), ..reply }));
    add(
        "body: all but the last byte",
        Late,
        content(|_, reply| {
            let bytes = reply.bytes();
            Reply { body: Body::Stuck(bytes[..bytes.len() - 1].to_vec()), ..reply }
        }),
    );
    add(
        "body: a chunk length that never ends",
        Late,
        content(|_, reply| chunked(reply, Body::Slow(vec![b'0'; 200], PAUSE))),
    );
    add(
        "body: a chunk extension that never ends",
        Late,
        content(|_, reply| chunked(reply, Body::Slow([b"1;".to_vec(), vec![b'x'; 200]].concat(), PAUSE))),
    );
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
