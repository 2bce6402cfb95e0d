//! What can go wrong on the way to a model's files.

use std::{error::Error, fmt, io, path::PathBuf};

use super::HubRepo;

/// Which file of which repository, and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Why a model's files could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text that is not `name`, `owner/name` or either with `@revision`.
    #[error("`{text}` is not a repository id (owner/name, optionally @revision): {problem}")]
    RepoId {
        /// The text that was parsed.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An option, or the environment variable it comes from, has an unusable value.
    #[error("{name}: {problem}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// What is wrong with its value. Never holds a token.
        problem: String,
    },
    /// The Hub has no such repository.
    #[error("{at}: no such repository")]
    RepoNotFound {
        /// What was asked for.
        at: Box<HubFile>,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{at}: no such revision")]
    RevisionNotFound {
        /// What was asked for.
        at: Box<HubFile>,
    },
    /// The repository lacks a file that a model must have.
    #[error("{at}: no such file")]
    FileNotFound {
        /// What was asked for.
        at: Box<HubFile>,
    },
    /// The Hub answered 401 or 403. To a caller without a token it answers so for a missing repository, too.
    #[error(
        "{at}: refused with HTTP status {status}; the repository is gated or private, or does not exist: accept its \
         terms on the Hub, and set HF_TOKEN to a token that may read it"
    )]
    Gated {
        /// What was asked for.
        at: Box<HubFile>,
        /// 401 or 403.
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
    #[error("{at}: names the shard {shard:?}, which is not a plain relative path")]
    UnsafeShard {
        /// The index.
        at: Box<HubFile>,
        /// The name found in it.
        shard: String,
    },
    /// The index of the shards cannot be read.
    #[error("{at}: malformed index")]
    MalformedIndex {
        /// The index.
        at: Box<HubFile>,
        /// What was found in it.
        source: serde_json::Error,
    },
    /// The weights exist only as a sharded `pytorch_model.bin`.
    #[error("{at}: a sharded pytorch_model.bin is not supported; convert the weights to safetensors")]
    ShardedPickle {
        /// The index of the shards.
        at: Box<HubFile>,
    },
    /// Fewer bytes arrived than the Hub announced (or more, when a download was resumed). They were deleted.
    #[error("{at}: received {received} bytes, expected {expected}")]
    Truncated {
        /// What was asked for.
        at: Box<HubFile>,
        /// The size that the Hub announced.
        expected: u64,
        /// The size of what arrived.
        received: u64,
    },
    /// The server answered, but not as a Hub does.
    #[error("{at}: not the answer of a Hub: {problem}")]
    Answer {
        /// What was asked for.
        at: Box<HubFile>,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The Hub is out of reach, answered with an error status, or broke off.
    #[error("{at}: request failed")]
    Network {
        /// What was asked for.
        at: Box<HubFile>,
        /// What the HTTP client says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cache cannot be read or written.
    #[error("{at}: the cache at {} cannot be used", .path.display())]
    Cache {
        /// What was asked for.
        at: Box<HubFile>,
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl HubError {
    /// Whether a complete snapshot in the cache may stand in for the Hub, as in `huggingface_hub`: yes if the Hub
    /// could not or would not answer, no if its answer was that there is no such revision or file.
    pub(super) fn leaves_the_cache_valid(&self) -> bool {
        matches!(
            self,
            HubError::Network { .. }
                | HubError::Answer { .. }
                | HubError::Gated { .. }
                | HubError::RepoNotFound { .. }
        )
    }
}
