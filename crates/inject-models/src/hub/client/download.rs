//! The way of one file into the cache.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Answer, HttpError, HubError, TimeoutPhase, Trouble,
    answer::{check_coding, found},
    http::{Reply, SLOWEST},
    http_error::shown,
    identity::{Identity, sha256},
    part::Part,
    remote::{Remote, awaited},
};
use crate::{Progress, Unit};

/// The number of times that an interrupted download is continued, as in `huggingface_hub`.
const ATTEMPTS: usize = 5;

/// One file of a commit, and the Hub's description of it.
pub(super) struct Download<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) file: &'a str,
    pub(super) answer: &'a Answer,
}

/// The reason for which an attempt ended without the whole file.
enum Stop {
    /// The server's fault, with the host.
    Server(String, HttpError),
    /// An error of the cache or of the file's content.
    Other(HubError),
}

impl Download<'_> {
    /// Makes the file part of the snapshot: from a blob that is in the cache already, from what an interrupted download left,
    /// or by asking for it. It gets its name when it is whole and right.
    pub(super) fn bring(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, HubError> {
        let Answer { commit, identity, size } = self.answer;
        let cache = &self.remote.site.cache;
        let key = match identity.hash() {
            Some(hash) => hash.to_owned(),
            None => sha256(&format!("{commit}/{}", self.file)),
        };
        let _turn = self.local(cache.turn(&key, self.remote.site.options.patience()))?;
        if let Some(path) = self.local(cache.link_if_whole(identity, *size, commit, self.file))? {
            return Ok(path);
        }
        let mut attempt = 1;
        loop {
            let mut part = self.local(Part::open(cache, &key, self.answer))?;
            let before = part.length;
            if before > 0 {
                self.report(before, progress);
            }
            let outcome = self.complete(&mut part, progress);
            let (path, length) = (part.path.clone(), part.length);
            let stop = match outcome.and_then(|()| self.checked(part)) {
                Ok(name) => return self.local(cache.keep(&path, &name, commit, self.file)),
                Err(stop) => stop,
            };
            let again = match &stop {
                Stop::Server(_, error) if error.is_cut() => length > before,
                // The bytes of an earlier download may have been the wrong ones.
                Stop::Server(_, HttpError::Content { .. } | HttpError::Status(416)) => before > 0,
                _ => false,
            };
            if matches!(&stop, Stop::Server(_, error) if !error.is_cut()) || *identity == Identity::Opaque {
                self.local(cache.remove_part(&path))?;
            }
            match stop {
                _ if again && attempt < ATTEMPTS => attempt += 1,
                Stop::Server(host, error) => return Err(self.remote.site.http(self.file, host, error)),
                Stop::Other(error) => return Err(error),
            }
        }
    }

    /// Receives the bytes that are missing.
    fn complete(&self, part: &mut Part<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Stop> {
        if part.length > 0 && part.missing() == 0 {
            return Ok(());
        }
        let http = &self.remote.http;
        let url = self.remote.site.url(self.answer.commit.as_str(), self.file);
        let reply = http
            .content(&url, part.length, self.answer.size, &mut || progress(awaited(self.file)))
            .map_err(|failure| Stop::Server(failure.host, failure.error))?;
        if !matches!(reply.status, 200 | 206) {
            return Err(match self.remote.site.refusal(self.file, &reply).filter(|_| reply.is_home) {
                Some(error) => Stop::Other(error),
                None => Stop::Server(reply.host, HttpError::Status(reply.status)),
            });
        }
        let host = reply.host.clone();
        let server = |error| Stop::Server(host.clone(), error);
        if reply.status == 200 && part.length > 0 {
            self.own(part.restart())?;
        }
        self.check_head(&reply, part).map_err(server)?;

        // One byte more than is missing shows that there are too many.
        let body = reply.into_body(part.missing() + 1);
        let mut pace = Pace::new(http.idle(), Instant::now());
        let mut outcome = Ok(());
        http.receive(body, |piece| {
            let piece = piece.transpose().map_err(server);
            outcome = piece.and_then(|piece| {
                let bytes = piece.as_deref().unwrap_or_default();
                self.take(part, bytes, &server)?;
                match part.missing() {
                    0 if bytes.is_empty() => progress(awaited(self.file)),
                    0 => {}
                    _ => self.report(part.length, progress),
                }
                pace.note(bytes.len() as u64, part.missing(), Instant::now()).map_err(server)
            });
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        outcome?;
        match part.missing() {
            0 => Ok(()),
            _ => Err(server(HttpError::Length { found: part.length, expected: self.answer.size })),
        }
    }

    /// Adds bytes that were received, if they are not too many.
    fn take(
        &self,
        part: &mut Part<'_>,
        bytes: &[u8],
        server: &dyn Fn(HttpError) -> Stop,
    ) -> Result<(), Stop> {
        if bytes.len() as u64 > part.missing() {
            self.own(part.restart())?;
            let expected = self.answer.size;
            return Err(server(HttpError::Length { found: expected + 1, expected }));
        }
        self.own(part.append(bytes))
    }

    /// Whether an answer with status 200 or 206 brings the missing bytes as they are.
    fn check_head(&self, reply: &Reply, part: &Part<'_>) -> Result<(), HttpError> {
        check_coding(reply)?;
        let size = self.answer.size;
        if reply.status == 206 {
            let range = reply.header("content-range")?;
            let expected = format!("bytes {}-{}/{size}", part.length, size.saturating_sub(1));
            if range != Some(&expected) || part.length == 0 {
                return Err(HttpError::Header {
                    name: "Content-Range",
                    found: found(range),
                    expected: "the bytes that were asked for",
                });
            }
        }
        match reply.header("content-length")? {
            Some(length) if length.parse() != Ok(part.missing()) => match length.parse::<u64>() {
                Ok(length) => {
                    Err(HttpError::Length { found: part.length.saturating_add(length), expected: size })
                }
                Err(_) => Err(HttpError::Header {
                    name: "Content-Length",
                    found: shown(length),
                    expected: "a decimal number of bytes",
                }),
            },
            _ => Ok(()),
        }
    }

    /// The name of the blob, if the content is the one that was announced.
    fn checked(&self, part: Part<'_>) -> Result<String, Stop> {
        let path = part.path.clone();
        let found = self.own(part.finish().map_err(Trouble::at(&path)))?;
        match self.answer.identity.hash() {
            Some(expected) if expected != found => {
                let error = HttpError::Content { found, expected: expected.to_owned() };
                Err(Stop::Server(self.remote.http.host(), error))
            }
            _ => Ok(found),
        }
    }

    fn report(&self, received: u64, progress: &mut dyn FnMut(Progress<'_>)) {
        progress(Progress::new(self.file, Unit::Bytes, received, self.answer.size));
    }

    fn local<T>(&self, outcome: Result<T, Trouble>) -> Result<T, HubError> {
        outcome.map_err(|trouble| self.remote.site.trouble(self.file, trouble))
    }

    fn own<T>(&self, outcome: Result<T, Trouble>) -> Result<T, Stop> {
        self.local(outcome).map_err(Stop::Other)
    }
}

/// Watches that the bytes of a body come faster than a stuck server sends them. Only they count: a server may also send parts of the
/// encoding, such as the lengths of chunks, without end.
struct Pace {
    window: Duration,
    since: Instant,
    received: u64,
}

impl Pace {
    fn new(window: Duration, now: Instant) -> Self {
        Pace { window, since: now, received: 0 }
    }

    /// Counts bytes that were received by now. If none are missing, the body must end within a window.
    fn note(&mut self, read: u64, missing: u64, now: Instant) -> Result<(), HttpError> {
        if missing == 0 && read > 0 {
            *self = Pace::new(self.window, now);
            return Ok(());
        }
        self.received += read;
        let within = now - self.since;
        if within < self.window {
            return Ok(());
        }
        if self.received == 0 {
            return Err(HttpError::Timeout(TimeoutPhase::Receiving));
        }
        let expected = (within.as_secs_f64() * SLOWEST as f64) as u64;
        if self.received < expected {
            return Err(HttpError::TooSlow { received: self.received, expected, within });
        }
        *self = Pace::new(self.window, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MISSING: u64 = 1 << 40;

    #[test]
    fn each_window_must_have_its_bytes_however_many_came_before() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        // A flood, then just enough.
        pace.note(1 << 30, MISSING, begin + 10 * SECOND).unwrap();
        pace.note(10 * SLOWEST, MISSING, begin + 20 * SECOND).unwrap();
        pace.note(10 * SLOWEST - 1, MISSING, begin + 29 * SECOND).unwrap();
        let error = pace.note(0, MISSING, begin + 30 * SECOND).unwrap_err();
        let HttpError::TooSlow { received, expected, within } = error else { panic!("{error:?}") };
        assert_eq!((received, expected, within), (10 * SLOWEST - 1, 10 * SLOWEST, 10 * SECOND));
    }

    #[test]
    fn nothing_is_too_slow_within_a_window() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        (1..10).for_each(|second| pace.note(0, MISSING, begin + second * SECOND).unwrap());
        let error = pace.note(0, MISSING, begin + 10 * SECOND).unwrap_err();
        assert!(matches!(error, HttpError::Timeout(TimeoutPhase::Receiving)), "{error:?}");
    }

    #[test]
    fn after_its_last_byte_a_body_must_end_within_a_window() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        pace.note(1, 0, begin + 9 * SECOND).unwrap();
        pace.note(0, 0, begin + 18 * SECOND).unwrap();
        let error = pace.note(0, 0, begin + 19 * SECOND).unwrap_err();
        assert!(matches!(error, HttpError::Timeout(TimeoutPhase::Receiving)), "{error:?}");
    }
}
