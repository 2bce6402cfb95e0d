//! As much of HTTP as a small Hub needs, and ways to break it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The two servers of a Hub.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Hub,
    Store,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) place: Place,
    pub(super) method: String,
    pub(super) path: String,
    /// The server that the client meant. A test prints it: on a busy machine, a port may have been another server's before.
    pub(super) host: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) accept_encoding: Option<String>,
    /// The first byte asked for.
    pub(super) range: Option<usize>,
}

/// An answer in the form of HTTP.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Clone)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    /// The bytes again and again, until the client hangs up.
    Endless(Vec<u8>),
    /// A byte at a time, each after a pause.
    Slow(Vec<u8>, Duration),
    /// The bytes, and then silence.
    Stuck(Vec<u8>),
    /// The bytes at once, and then another body.
    Before(Vec<u8>, Box<Body>),
}

pub(super) enum Answer {
    Reply(Reply),
    /// A reply over a connection that stays open, and that is closed without a word as soon as it brings another request.
    Last(Reply),
    /// Bytes without any head.
    Raw(Body),
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Bytes(Vec::new()) }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// With a body of which `Content-Length` tells the truth.
    pub(super) fn with_body(self, bytes: Vec<u8>) -> Self {
        let reply = self.set("Content-Length", &bytes.len().to_string());
        Reply { body: Body::Bytes(bytes), ..reply }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Bytes(bytes)
            | Body::Endless(bytes)
            | Body::Slow(bytes, _)
            | Body::Stuck(bytes)
            | Body::Before(bytes, _) => bytes.clone(),
        }
    }

    /// The head, of the last answer over a connection unless its headers say otherwise.
    pub(super) fn head(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let end = if self.header("Connection").is_none() { "Connection: close\r\n" } else { "" };
        format!("HTTP/1.1 {} Said\r\n{headers}{end}\r\n", self.status).into_bytes()
    }
}

/// The time after which a server that is [`Body::Stuck`] gives up. A client that waits for so long hangs.
pub(super) const STUCK: Duration = Duration::from_secs(180);

/// The head of a request, or `None` from a client that connects and says nothing.
pub(super) fn read(stream: &TcpStream, place: Place) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut request =
        Request { place, method, path, host: None, authorization: None, accept_encoding: None, range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            "accept-encoding" => request.accept_encoding = Some(value.to_owned()),
            "range" => request.range = Some(value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?),
            _ => {}
        }
    }
    Some(request)
}

pub(super) fn send(mut stream: &TcpStream, bytes: &[u8], sent: &AtomicU64) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    Ok(())
}

pub(super) fn send_body(mut stream: &TcpStream, body: &Body, sent: &AtomicU64) -> std::io::Result<()> {
    match body {
        Body::Bytes(bytes) => send(stream, bytes, sent),
        Body::Endless(bytes) => loop {
            send(stream, bytes, sent)?;
        },
        Body::Slow(bytes, pause) => bytes.iter().try_for_each(|byte| {
            std::thread::sleep(*pause);
            send(stream, &[*byte], sent)
        }),
        Body::Stuck(bytes) => {
            send(stream, bytes, sent)?;
            stream.set_read_timeout(Some(STUCK))?;
            stream.read(&mut [0]).map(|_| ())
        }
        Body::Before(bytes, rest) => {
            send(stream, bytes, sent)?;
            send_body(stream, rest, sent)
        }
    }
}
