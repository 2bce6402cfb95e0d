//! The errors of one exchange with a server.

use std::{fmt, io, time::Duration};

/// Longest text from outside that a message repeats.
const MAX_SHOWN: usize = 120;

/// The reason for which an answer of the Hub, or of a server that it redirects to, cannot be used.
///
/// Text from outside has its control characters escaped, and is cut after 120 characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The server cannot be reached, or the connection broke off.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// The system allows no thread, and without one nothing limits the time that a request takes.
    #[error("cannot start a thread")]
    NoThread(#[source] io::Error),
    /// The answer is not HTTP.
    #[error("a malformed answer")]
    Malformed(#[source] io::Error),
    /// The environment names a proxy that cannot be used, and the server is not to be reached without one.
    #[error("the proxy that {variable} names cannot be used: {problem}")]
    Proxy {
        /// The variable of the environment.
        variable: &'static str,
        /// The problem with its value. Never holds a password.
        problem: &'static str,
    },
    /// The server took too long.
    #[error("timed out {0}")]
    Timeout(TimeoutPhase),
    /// A body arrives, but so slowly that it might never end.
    #[error("{received} bytes arrived in {} s, expected at least {expected}", .within.as_secs_f32())]
    TooSlow {
        /// The number of bytes that arrived.
        received: u64,
        /// Bytes that the slowest acceptable connection brings.
        expected: u64,
        /// The time in which they arrived.
        within: Duration,
    },
    /// An HTTP status that does not answer the question, such as 304, 429 or 503.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A redirect that does not say where to.
    #[error("HTTP status {status} without a Location")]
    NoLocation {
        /// The HTTP status of the redirect.
        status: u16,
    },
    /// A redirect to something that cannot be asked.
    #[error("a redirect to \"{found}\", expected an http(s) URL without a user name")]
    Location {
        /// The value of `Location`, with control characters escaped.
        found: String,
    },
    /// A redirect of the Hub to another one of its files.
    #[error("a redirect to \"{found}\", expected one to the same file")]
    OtherFile {
        /// The path it leads to, shown safely.
        found: String,
    },
    /// A redirect from https to http.
    #[error("a redirect from https to plain http at {host}")]
    Downgrade {
        /// The host it leads to.
        host: String,
    },
    /// The server redirects more often than the client follows.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The number of redirects that are followed.
        limit: usize,
    },
    /// A header that is missing, repeated or malformed.
    #[error("header {name} is {found}, expected {expected}")]
    Header {
        /// Name of the malformed header.
        name: &'static str,
        /// The header's value, with control characters escaped.
        found: String,
        /// The values that are accepted.
        expected: &'static str,
    },
    /// The head of an answer is longer than a head has reason to be.
    #[error("the headers take more than {limit} bytes")]
    HeaderTooLong {
        /// The most that is read.
        limit: usize,
    },
    /// The body is compressed, which was not requested.
    #[error("the body is encoded as \"{coding}\", expected none")]
    Coded {
        /// The `Content-Encoding`, shown safely.
        coding: String,
    },
    /// The file is larger than such a file has reason to be.
    #[error("a size of {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The size that the server announced.
        found: u64,
        /// The most that is accepted for a file of this name.
        limit: u64,
    },
    /// More or fewer bytes than the metadata announced.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Bytes announced by the answer with the content, or received, or of the content of that hash in the cache.
        found: u64,
        /// The size in the file's metadata.
        expected: u64,
    },
    /// The content is not the one that the metadata announced.
    #[error("content with the hash {found}, expected {expected}")]
    Content {
        /// The hash of the bytes that arrived.
        found: String,
        /// The hash that the etag states.
        expected: String,
    },
}

/// The part of an exchange that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// Looking up the host and connecting to it.
    Connecting,
    /// Sending the request and waiting for the head of the answer.
    Waiting,
    /// Receiving the body of the answer.
    Receiving,
}

impl fmt::Display for TimeoutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeoutPhase::Connecting => "while connecting",
            TimeoutPhase::Waiting => "while waiting for the answer",
            TimeoutPhase::Receiving => "while receiving the body",
        })
    }
}

impl HttpError {
    /// Whether the exchange broke off on the way, so that a second try may go further.
    pub(super) fn is_cut(&self) -> bool {
        matches!(
            self,
            HttpError::Connection(_)
                | HttpError::Timeout(_)
                | HttpError::TooSlow { .. }
                | HttpError::Length { .. }
        )
    }

    /// The meaning of an error of the HTTP library in a phase of the exchange.
    pub(super) fn of(error: ureq::Error, phase: TimeoutPhase, header_limit: usize) -> Self {
        use ureq::Timeout::{Connect, Resolve};
        match error {
            ureq::Error::Timeout(Connect | Resolve) => HttpError::Timeout(TimeoutPhase::Connecting),
            ureq::Error::Timeout(_) => HttpError::Timeout(phase),
            ureq::Error::LargeResponseHeader(..) => HttpError::HeaderTooLong { limit: header_limit },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => HttpError::Timeout(phase),
            ureq::Error::Io(error) if error.get_ref().is_none() => HttpError::Connection(error),
            ureq::Error::Io(error) => {
                HttpError::Connection(io::Error::new(error.kind(), shown(&error.to_string())))
            }
            ureq::Error::Protocol(error) => HttpError::Malformed(io::Error::other(shown(&error.to_string()))),
            other => HttpError::Connection(io::Error::other(shown(&other.to_string()))),
        }
    }
}

/// A text from outside, safe to print: control characters escaped, and not without end.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("..");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_moves_no_cursor() {
        assert_eq!(shown("a\u{1b}[2J\r\n\u{202e}b"), r"a\u{1b}[2J\r\n\u{202e}b");
        assert!(shown(&"\0".repeat(1 << 20)).len() < 400);
    }
}
