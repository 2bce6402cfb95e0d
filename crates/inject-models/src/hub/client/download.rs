//! The way of one file into the cache.

use std::{mem::replace, path::PathBuf, time::Instant};

use super::{
    answer::{Answer, check_coding, found},
    below::Trouble,
    error::HubError,
    http::Reply,
    http_error::{HttpError, shown},
    identity::{Identity, sha256},
    pace::{Attempts, Pace},
    part::Part,
    remote::Remote,
    verified::BUFFER,
};
use crate::progress::{Progress, Unit};

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
    /// Brings the file into the cache: from a blob that is there already, from what an interrupted download left, or by asking for
    /// it. It gets its name when it is whole and right, and its place from [`Remote::place`].
    pub(super) fn bring(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, HubError> {
        let Answer { commit, identity, size } = self.answer;
        let cache = &self.remote.site.cache;
        let key = match identity.hash() {
            Some(hash) => hash.to_owned(),
            None => sha256(&format!("{commit}/{}", self.file)),
        };
        let _turn = self.local(cache.turn(&key, self.remote.site.options.patience()))?;
        match self.local(cache.blob_length(identity))? {
            Some(length) if length == *size => return self.local(self.remote.place(self.file, key)),
            // The answer contradicts itself: no content of another length has this hash.
            Some(length) => {
                let error = HttpError::Length { found: length, expected: *size };
                return Err(self.remote.site.http(self.file, self.remote.http.host(), error));
            }
            None => {}
        }
        let mut part = self.local(Part::open(cache, &key, self.answer))?;
        let mut attempts = Attempts::new(self.remote.http.idle(), Instant::now());
        let mut began_again = false;
        loop {
            let before = part.length;
            if before > 0 {
                self.report(before, progress);
            }
            let outcome = self.complete(&mut part, progress).and_then(|()| self.checked(&mut part));
            let stop = match outcome {
                Ok(name) => {
                    let kept = cache.keep(&part.path, &name);
                    return self.local(kept.and_then(|()| self.remote.place(self.file, name)));
                }
                Err(stop) => stop,
            };
            // A hash will show whether the rest fits to what is there.
            let is_kept =
                *identity != Identity::Opaque && !matches!(&stop, Stop::Server(_, error) if !error.is_cut());
            let again = match &stop {
                Stop::Server(_, error) if error.is_cut() => {
                    let brought = if is_kept { part.length.saturating_sub(before) } else { 0 };
                    part.length > before && attempts.is_next_due(brought, Instant::now())
                }
                // The bytes of an earlier download may have been the wrong ones.
                Stop::Server(_, HttpError::Content { .. } | HttpError::Status(416)) => {
                    before > 0 && !replace(&mut began_again, true)
                }
                _ => false,
            };
            match (again, is_kept) {
                (_, true) => {}
                (true, false) => self.local(part.restart())?,
                (false, false) => self.local(cache.remove_part(&part.path))?,
            }
            match stop {
                _ if again => {}
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
        let reply =
            http.content(&url, part.length).map_err(|failure| Stop::Server(failure.host, failure.error))?;
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

        // A hash shows whether the bytes are the right ones, and the end of a body need not come if no length announces it. Without a
        // hash, one byte more than is missing shows that there are too many.
        let to_the_end =
            reply.headers.contains_key("content-length") || self.answer.identity == Identity::Opaque;
        let mut body = reply.into_content(part.missing() + u64::from(to_the_end));
        let mut buffer = vec![0; BUFFER];
        let mut pace = Pace::new(http.idle(), Instant::now());
        while part.missing() > 0 || to_the_end {
            let read = body.read(&mut buffer, pace.deadline()).map_err(server)?;
            let read = read.ok_or_else(|| server(pace.missed(Instant::now())))?;
            if read as u64 > part.missing() {
                self.own(part.restart())?;
                return Err(server(HttpError::Length {
                    found: self.answer.size + 1,
                    expected: self.answer.size,
                }));
            }
            if read == 0 {
                break;
            }
            self.own(part.append(&buffer[..read]))?;
            if part.missing() > 0 {
                self.report(part.length, progress);
                pace.note(read as u64, Instant::now()).map_err(server)?;
            }
        }
        match part.missing() {
            0 => Ok(()),
            _ => Err(server(HttpError::Length { found: part.length, expected: self.answer.size })),
        }
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
    fn checked(&self, part: &mut Part<'_>) -> Result<String, Stop> {
        let found = self.own(part.finish())?;
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
