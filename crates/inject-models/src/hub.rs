//! A model's files, fetched from a Hugging Face Hub into a local folder.
//!
//! The idea: a revision is resolved to a commit once, and every file then comes from that commit's snapshot
//! folder. The cache is laid out as Python's `huggingface_hub` lays it out, so models that are already on the
//! machine are found, and models fetched here are found by Python.
//!
//! - [`HubRepo`]: which repository and revision, parsed from `owner/name@revision`.
//! - [`HubOptions`]: endpoint, cache folder, token, offline mode; from the usual `HF_*` variables.
//! - [`fetch`]: fetches what is missing and returns the [`Snapshot`].
//! - [`Progress`]: what `fetch` reports meanwhile; nothing is printed.
//!
//! # Example
//!
//! ```
//! use inject_models::hub::{self, HubError, HubOptions, HubRepo};
//!
//! let repo: HubRepo = "openai-community/gpt2".parse()?;
//! let options = HubOptions::new("/nonexistent/cache").with_offline(true);
//! let error = hub::fetch(&repo, &options, &mut |_| ()).unwrap_err();
//! assert!(matches!(error, HubError::OfflineMiss { .. }));
//! # Ok::<(), HubError>(())
//! ```

mod cache;
mod environment;
mod error;
mod index;
mod options;
mod remote;
mod repo;

use std::path::PathBuf;

pub use error::{HubError, HubFile};
pub use options::HubOptions;
pub use repo::HubRepo;

use cache::RepoCache;
use remote::Remote;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SAFETENSORS: &str = "model.safetensors";
const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// A local folder that holds a model's files, all of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder: `<cache>/models--<owner>--<name>/snapshots/<commit>`.
    pub folder: PathBuf,
    /// The commit the revision stood for.
    pub commit: String,
}

/// What [`fetch`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Another piece of a file arrived. Called for each piece of a few kilobytes.
    Received {
        /// The file's path in the repository.
        file: &'a str,
        /// Bytes present so far, with those of an interrupted download that was resumed.
        received: u64,
        /// Size of the file in bytes.
        total: u64,
    },
    /// A file is in the snapshot folder, whether it was fetched now or found in the cache.
    Ready {
        /// The file's path in the repository.
        file: &'a str,
    },
}

/// Makes a repository's model files present in the cache, and returns their folder.
///
/// The files are `config.json`, `tokenizer.json` and `tokenizer_config.json` (where the repository has them), and
/// the weights: the shards named by `model.safetensors.index.json`, else `model.safetensors`, else
/// `pytorch_model.bin`. No other file of the repository is asked for.
///
/// # Requests
///
/// - Offline: none. `refs/<revision>` of the cache names the commit.
/// - A revision that is a full commit hash: only for files that the cache does not hold.
/// - A branch or a tag: one to learn its commit, then as above. The cache's ref is moved only after every file of
///   the commit has arrived, so what a later offline run finds is complete.
/// - A blob that another commit brought already is linked, not fetched again. An interrupted download is resumed.
/// - If the Hub is out of reach, answers with an error status, or no longer shows the repository, a complete
///   snapshot in the cache is used, as `huggingface_hub` does. A missing revision or file stays an error.
///
/// Connections have no timeout but the operating system's: hf-hub 0.5 offers no way to set one.
///
/// # Errors
///
/// See [`HubError`]; each names the repository, the file and the endpoint.
pub fn fetch(
    repo: &HubRepo,
    options: &HubOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let site = Site { repo, options, cache: RepoCache::new(options.cache_dir(), repo) };
    if options.is_offline() {
        let commit = site.cache.commit_of(repo).ok_or_else(|| site.offline_miss(CONFIG))?;
        return gather(&Cached { site: &site, commit }, progress);
    }
    let (commit, error) = match site.resolve() {
        Ok(remote) => match gather(&remote, progress).and_then(|snapshot| site.keep_ref(snapshot)) {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => (Some(remote.commit), error),
        },
        Err(error) => (site.cache.commit_of(repo), error),
    };
    match commit {
        Some(commit) if error.leaves_the_cache_valid() => {
            gather(&Cached { site: &site, commit }, progress).map_err(|_| error)
        }
        _ => Err(error),
    }
}

/// Where a call of [`fetch`] looks: its arguments, and the repository's part of the cache.
struct Site<'a> {
    repo: &'a HubRepo,
    options: &'a HubOptions,
    cache: RepoCache,
}

impl Site<'_> {
    fn at(&self, file: &str) -> Box<HubFile> {
        let endpoint = self.options.endpoint().to_owned();
        Box::new(HubFile { file: file.to_owned(), repo: self.repo.clone(), endpoint })
    }

    fn offline_miss(&self, file: &str) -> HubError {
        HubError::OfflineMiss { at: self.at(file), cache_dir: self.options.cache_dir().to_owned() }
    }

    fn resolve(&self) -> Result<Remote<'_>, HubError> {
        Remote::resolve(self)
    }

    /// Lets the branch or tag stand for the snapshot's commit from now on.
    fn keep_ref(&self, snapshot: Snapshot) -> Result<Snapshot, HubError> {
        self.cache.point(self.repo, &snapshot.commit).map_err(|source| HubError::Cache {
            at: self.at(CONFIG),
            path: self.options.cache_dir().to_owned(),
            source,
        })?;
        Ok(snapshot)
    }
}

/// The files of one commit: those in the cache, or those of the Hub.
trait Files {
    fn site(&self) -> &Site<'_>;

    fn commit(&self) -> &str;

    /// The local path of a file, or `None` if the repository (as far as it is known) has no such file.
    fn find(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError>;

    /// The error for a file that a model cannot do without.
    fn missing(&self, file: &str) -> HubError;
}

/// Only what earlier runs left in the cache.
struct Cached<'a> {
    site: &'a Site<'a>,
    commit: String,
}

impl Files for Cached<'_> {
    fn site(&self) -> &Site<'_> {
        self.site
    }

    fn commit(&self) -> &str {
        &self.commit
    }

    fn find(&self, file: &str, _progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError> {
        Ok(self.site.cache.file(&self.commit, file))
    }

    fn missing(&self, file: &str) -> HubError {
        self.site.offline_miss(file)
    }
}

/// Finds every file of the model. The weights come last, so a snapshot that has them has everything.
fn gather(files: &dyn Files, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Snapshot, HubError> {
    let mut find = |file: &str| -> Result<Option<PathBuf>, HubError> {
        let path = files.find(file, progress)?;
        if path.is_some() {
            progress(Progress::Ready { file });
        }
        Ok(path)
    };

    find(CONFIG)?.ok_or_else(|| files.missing(CONFIG))?;
    find(TOKENIZER)?;
    find(TOKENIZER_CONFIG)?;
    if let Some(path) = find(SAFETENSORS_INDEX)? {
        for shard in index::shards(&path, files.site().at(SAFETENSORS_INDEX))? {
            find(&shard)?.ok_or_else(|| files.missing(&shard))?;
        }
    } else if find(SAFETENSORS)?.is_none() && find(PICKLE)?.is_none() {
        return Err(match find(PICKLE_INDEX)? {
            Some(_) => HubError::ShardedPickle { at: files.site().at(PICKLE_INDEX) },
            None => files.missing(SAFETENSORS),
        });
    }

    let commit = files.commit().to_owned();
    Ok(Snapshot { folder: files.site().cache.snapshot(&commit), commit })
}
