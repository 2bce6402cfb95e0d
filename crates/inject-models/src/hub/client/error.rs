//! The errors of fetching a model's files.

use std::{fmt, io, path::PathBuf, time::Duration};

use super::http_error::HttpError;
use crate::hub::repo::HubRepo;

/// A file of a repository, and the Hub that was asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubFile {
    /// The file's path in the repository.
    pub file: String,
    /// The repository and its revision.
    pub repo: HubRepo,
    /// The Hub, such as `https://huggingface.co`.
    pub endpoint: String,
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}", self.file, self.repo, self.endpoint)
    }
}

/// An error of fetching a model's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// An option, or the environment variable it comes from, has an unusable value.
    #[error("{name}: {problem}")]
    Setting {
        /// Name of the environment variable.
        name: &'static str,
        /// The problem with its value. Never holds a token.
        problem: String,
    },
    /// The Hub has no such repository.
    #[error("{at}: no such repository; if it is private, set HF_TOKEN to a token that may read it")]
    RepoNotFound {
        /// The requested file, whose repository does not exist.
        at: Box<HubFile>,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{at}: no such revision")]
    RevisionNotFound {
        /// The requested file, whose revision does not exist.
        at: Box<HubFile>,
    },
    /// The repository lacks a file that a model must have.
    #[error("{at}: no such file")]
    FileNotFound {
        /// The file that the revision does not contain.
        at: Box<HubFile>,
    },
    /// The Hub answered 401 or 403. To a caller without a token it answers so for a missing repository, too.
    #[error(
        "{at}: refused with HTTP status {status}; the repository is gated or private, or does not exist: accept its \
         terms on the Hub, and set HF_TOKEN to a token that may read it"
    )]
    Gated {
        /// The file to which access was refused.
        at: Box<HubFile>,
        /// The HTTP status, 401 or 403.
        status: u16,
    },
    /// Offline, and the cache does not hold a file.
    #[error("{at}: not in the cache {} and offline mode forbids asking for it", .cache_dir.display())]
    OfflineMiss {
        /// The file that is missing.
        at: Box<HubFile>,
        /// The cache that was searched.
        cache_dir: PathBuf,
    },
    /// The index names a shard that could lie outside the repository's folder.
    #[error("{at}: names the shard \"{shard}\", which is not a plain relative path")]
    UnsafeShard {
        /// The index that names the shard.
        at: Box<HubFile>,
        /// The name found in it, shown safely.
        shard: String,
    },
    /// The index names a shard in the place of another kind of file, or below a file.
    #[error(
        "{at}: names the shard \"{shard}\", which has the ending of another kind of file, or lies below a file"
    )]
    MisplacedShard {
        /// The index that names the shard.
        at: Box<HubFile>,
        /// The name found in it, shown safely.
        shard: String,
    },
    /// The index of the shards cannot be read.
    #[error("{at}: malformed index")]
    MalformedIndex {
        /// The index that cannot be read.
        at: Box<HubFile>,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The Hub, or a server it redirects to, cannot be reached, or its answer cannot be used.
    #[error("{at}: no usable answer from {host}")]
    Http {
        /// The file that could not be fetched.
        at: Box<HubFile>,
        /// The host whose answer was not usable, with the proxy that leads to it if nothing came from there.
        host: String,
        /// The error of the exchange.
        source: HttpError,
    },
    /// Offline, and a file in the cache does not have the hash that its blob is named after.
    #[error(
        "{at}: the file in the cache is damaged: it has the hash {found}, expected {expected}; fetch it again online"
    )]
    Damaged {
        /// The file of the model.
        at: Box<HubFile>,
        /// The hash of its content.
        found: String,
        /// The hash that is its blob's name.
        expected: String,
    },
    /// A symbolic link in the cache leads out of the cache folder.
    #[error("{at}: {} leads out of the cache to {}: remove it, or name its target's folder as the cache", .path.display(), .target.display())]
    LeadsOut {
        /// The file that was to be read from or written to the cache.
        at: Box<HubFile>,
        /// The path in the cache.
        path: PathBuf,
        /// The path outside the cache to which the link leads.
        target: PathBuf,
    },
    /// Another process holds the lock of a file, and its download does not grow.
    #[error(
        "{at}: another process has held the lock {} for {} s without any progress: end it, or try again later",
        .path.display(), .waited.as_secs()
    )]
    Busy {
        /// The file that another process is fetching.
        at: Box<HubFile>,
        /// Path of the lock file.
        path: PathBuf,
        /// The time for which that process has made no progress.
        waited: Duration,
    },
    /// The cache cannot be read or written.
    #[error("{at}: the cache at {} cannot be used", .path.display())]
    Cache {
        /// The file that was to be read from or written to the cache.
        at: Box<HubFile>,
        /// The file or folder concerned.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl HubError {
    /// Whether a complete snapshot in the cache may stand in for the Hub, as in `huggingface_hub`: yes if the Hub
    /// could not or would not answer, no if its answer was that there is no such revision or file. A commit that the
    /// caller named by its hash is the same whether the Hub still has it or not.
    pub(super) fn leaves_valid(&self, is_named_by_hash: bool) -> bool {
        match self {
            HubError::Http { .. } | HubError::Gated { .. } | HubError::RepoNotFound { .. } => true,
            HubError::RevisionNotFound { .. } => is_named_by_hash,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, time::Duration};

    use super::*;
    use crate::hub::client::http_error::TimeoutPhase;

    fn at() -> Box<HubFile> {
        let endpoint = "http://hub".to_owned();
        Box::new(HubFile { file: "config.json".to_owned(), repo: "o/n".parse().unwrap(), endpoint })
    }

    /// One of each kind of failure with a server.
    fn http_errors() -> Vec<HttpError> {
        let text = || "a\\n".to_owned();
        vec![
            HttpError::Connection(io::Error::from(io::ErrorKind::ConnectionRefused)),
            HttpError::Connection(io::Error::other("the cause")),
            HttpError::NoThread(io::Error::other("the cause")),
            HttpError::Malformed(io::Error::other("the cause")),
            HttpError::Proxy { variable: "ALL_PROXY", problem: "it is not a URL" },
            HttpError::Timeout(TimeoutPhase::Waiting),
            HttpError::TooSlow { received: 1, expected: 2, within: Duration::from_secs(1) },
            HttpError::Status(503),
            HttpError::NoLocation { status: 302 },
            HttpError::Location { found: text() },
            HttpError::OtherFile { found: text() },
            HttpError::Downgrade { host: text() },
            HttpError::TooManyRedirects { limit: 10 },
            HttpError::Header { name: "ETag", found: text(), expected: "an etag" },
            HttpError::HeaderTooLong { limit: 1 },
            HttpError::Coded { coding: text() },
            HttpError::TooLarge { found: 2, limit: 1 },
            HttpError::Length { found: 2, expected: 1 },
            HttpError::Content { found: text(), expected: text() },
        ]
    }

    fn errors() -> Vec<HubError> {
        let path = || PathBuf::from("/cache/x");
        let source = || io::Error::from(io::ErrorKind::PermissionDenied);
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        let mut errors = vec![
            HubError::MalformedIndex { at: at(), source: json },
            HubError::Cache { at: at(), path: path(), source: source() },
            HubError::LeadsOut { at: at(), path: path(), target: path() },
        ];
        errors.extend(http_errors().into_iter().map(|source| HubError::Http {
            at: at(),
            host: "hub".to_owned(),
            source,
        }));
        errors
    }

    #[test]
    fn a_cause_is_not_repeated_in_the_text() {
        for error in errors() {
            let mut outer: &dyn Error = &error;
            while let Some(cause) = outer.source() {
                assert!(!outer.to_string().contains(&cause.to_string()), "{outer}: {cause}");
                outer = cause;
            }
        }
    }

    #[test]
    fn a_text_is_one_line_in_lower_case_without_a_stop() {
        for error in http_errors() {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
        }
    }
}
