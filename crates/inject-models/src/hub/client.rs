//! The client: which files are wanted, and where they are looked for.

mod answer;
mod below;
mod cache;
mod commit;
mod download;
mod environment;
mod error;
mod exchange;
mod http;
mod http_error;
mod identity;
mod index;
mod limits;
mod options;
mod origin;
mod part;
mod proxy;
mod remote;
mod verified;

use std::{fs, path::PathBuf};

pub use error::{HubError, HubFile};
pub use http_error::{HttpError, TimeoutPhase};
pub use options::HubOptions;

use self::{
    answer::Answer,
    below::Trouble,
    cache::{Cached, RepoCache},
    commit::Commit,
    http::Reply,
    limits::{
        CONFIG, MERGES, PICKLE, PICKLE_INDEX, SAFETENSORS, SAFETENSORS_INDEX, SENTENCE_PIECE, TOKENIZER,
        TOKENIZER_CONFIG, VOCABULARY,
    },
    remote::Remote,
};
use super::HubRepo;
use crate::{Progress, Unit};

/// A local folder that holds a model's files, all of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Path of the folder: `<cache>/models--<owner>--<name>/snapshots/<commit>`.
    pub folder: PathBuf,
    /// The commit the revision stood for.
    pub commit: String,
}

/// Makes a repository's model files present in the cache, and returns their folder.
///
/// The files are `config.json`, `tokenizer.json`, or else `vocab.json` and `merges.txt`, or else `tokenizer.model`, and
/// `tokenizer_config.json` (where the repository has them), and the weights: the shards named by `model.safetensors.index.json`, else
/// `model.safetensors`, else `pytorch_model.bin`, else the shards named by `pytorch_model.bin.index.json`. No other file
/// of the repository is requested.
///
/// `progress` receives the number of bytes of each file that have arrived, with those of an interrupted download that is resumed.
/// While the Hub is silent, there is a report of [`Unit::Answers`] ten times a second. To stop, `progress` may unwind.
/// Once a file is in the snapshot folder, fetched now or found in the cache, it gets one report in which `done` is `total`.
///
/// # Requests
///
/// - Offline: none. `refs/<revision>` of the cache names the commit.
/// - A revision that is a full commit hash: only for files that the cache does not hold.
/// - A branch or a tag: one to learn its commit, then as above. The cache's ref is moved only after every file of
///   the commit has arrived, so what a later offline run finds is complete.
/// - A blob that another commit brought already is linked, not fetched again. An interrupted download is resumed.
/// - The absence of an optional file is remembered with the commit, and saves a request. If a model seems to have no weights or
///   no tokenizer, their files are requested again.
/// - If the Hub is out of reach, answers with an error status, or no longer shows the repository, a complete
///   snapshot in the cache is used, as `huggingface_hub` does. A missing revision or file stays an error.
///
/// # Promises
///
/// Whatever the Hub answers:
///
/// - Nothing is written outside the cache folder, and nothing outside it is read as a model's file.
/// - The token goes to the endpoint's own scheme, host and port, and nowhere else.
/// - A file is asked about once, and is what that answer says: of the announced length, and with the announced hash. It gets
///   its name when it is whole and right. An etag that is not a hash, as some mirrors have it, leaves only the length.
/// - A file in the cache whose blob is named by a hash is compared with it: a small one (16 MiB) each time, a large one when it
///   is first used and after each change of its length or time. A damaged one is fetched again; offline it is an error.
/// - Every request ends, and so does the wait for another process that downloads the same file: see
///   [`HubOptions::with_timeouts`].
///
/// A Hub can still give wrong files under the right names if all its answers agree. Nothing here proves which files a commit has.
///
/// # Errors
///
/// See [`HubError`]; each names the repository, the file and the endpoint.
///
/// # Example
///
/// ```
/// use inject_models::{hub::{self, HubError, HubOptions, HubRepo}, silent};
///
/// let repo: HubRepo = "openai-community/gpt2".parse()?;
/// let options = HubOptions::new("/nonexistent/cache").with_offline(true);
/// let error = hub::fetch(&repo, &options, &mut silent).unwrap_err();
/// assert!(matches!(error, HubError::OfflineMiss { .. }));
/// # Ok::<(), hub::RepoIdError>(())
/// ```
pub fn fetch(
    repo: &HubRepo,
    options: &HubOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    fetch_files(repo, options, Wanted::Model, progress)
}

/// Makes the files of a repository's tokenizer present in the cache, and returns their folder: `tokenizer.json`, or else
/// `vocab.json` and `merges.txt`, or else `tokenizer.model`, and `tokenizer_config.json` if there is one.
///
/// Everything that [`fetch`] promises holds. A ref of the cache is written only where there was none, because the snapshot may
/// lack the files of the model.
///
/// # Errors
///
/// See [`HubError`].
pub fn fetch_tokenizer(
    repo: &HubRepo,
    options: &HubOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    fetch_files(repo, options, Wanted::Tokenizer, progress)
}

/// The part of a repository that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Model,
    Tokenizer,
}

fn fetch_files(
    repo: &HubRepo,
    options: &HubOptions,
    wanted: Wanted,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let site = Site { repo, options, cache: RepoCache::new(options.cache_dir(), repo) };
    if options.is_offline() {
        let commit = site.cached_commit()?.ok_or_else(|| site.offline_miss(CONFIG))?;
        return gather(&FromCache { site: &site, commit }, wanted, progress);
    }
    let (commit, error) = match Remote::resolve(&site, progress) {
        Ok(remote) => match gather(&remote, wanted, progress)
            .and_then(|snapshot| site.keep_ref(&remote, wanted, snapshot))
        {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => (Some(remote.commit), error),
        },
        Err(error) => (site.cached_commit()?, error),
    };
    match commit {
        Some(commit) if error.leaves_the_cache_valid() => {
            gather(&FromCache { site: &site, commit }, wanted, progress).map_err(|_| error)
        }
        _ => Err(error),
    }
}

/// The places where a call of [`fetch`] looks: its arguments, and the repository's part of the cache.
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

    /// The address of a file. Revision and file consist of characters that need no escaping, except for the `/` of a revision.
    fn url(&self, revision: &str, file: &str) -> String {
        format!(
            "{}/{}/resolve/{}/{file}",
            self.options.endpoint(),
            self.repo.id(),
            revision.replace('/', "%2F")
        )
    }

    fn offline_miss(&self, file: &str) -> HubError {
        HubError::OfflineMiss { at: self.at(file), cache_dir: self.options.cache_dir().to_owned() }
    }

    fn http(&self, file: &str, host: String, source: HttpError) -> HubError {
        HubError::Http { at: self.at(file), host, source }
    }

    fn trouble(&self, file: &str, trouble: Trouble) -> HubError {
        let at = self.at(file);
        match trouble {
            Trouble::Io { path, source } => HubError::Cache { at, path, source },
            Trouble::LeadsOut { path, target } => HubError::LeadsOut { at, path, target },
            Trouble::Busy { path, waited } => HubError::Busy { at, path, waited },
        }
    }

    /// The meaning of a refusal; `None` if the status says nothing about the file.
    fn refusal(&self, file: &str, reply: &Reply) -> Option<HubError> {
        let at = self.at(file);
        let code = reply.header("x-error-code").ok().flatten();
        match (reply.status, code) {
            (401 | 403 | 404, Some("RepoNotFound")) => Some(HubError::RepoNotFound { at }),
            (404, Some("RevisionNotFound")) => Some(HubError::RevisionNotFound { at }),
            (404, _) => Some(HubError::FileNotFound { at }),
            (status @ (401 | 403), _) => Some(HubError::Gated { at, status }),
            _ => None,
        }
    }

    fn cached_commit(&self) -> Result<Option<Commit>, HubError> {
        self.cache.commit_of(self.repo).map_err(|trouble| self.trouble(CONFIG, trouble))
    }

    /// Lets the branch or tag stand for the snapshot's commit from now on.
    fn keep_ref(
        &self,
        remote: &Remote<'_>,
        wanted: Wanted,
        snapshot: Snapshot,
    ) -> Result<Snapshot, HubError> {
        if wanted == Wanted::Tokenizer && self.cached_commit()?.is_some() {
            return Ok(snapshot);
        }
        self.cache.point(self.repo, &remote.commit).map_err(|trouble| self.trouble(CONFIG, trouble))?;
        Ok(snapshot)
    }
}

/// The files of one commit: those in the cache, or those of the Hub.
trait Files {
    fn site(&self) -> &Site<'_>;

    fn commit(&self) -> &Commit;

    /// The local path of a file, or `None` if the repository (as far as it is known) has no such file.
    fn find(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError>;

    /// Forgets that earlier runs found these files absent. Returns whether any of them is to be looked for again.
    fn doubt(&self, files: &[&str]) -> bool;

    /// The error for a file that a model cannot do without.
    fn missing(&self, file: &str) -> HubError;

    /// Takes note that a file was found, but is of no use.
    fn reject(&self, file: &str);
}

/// Only what earlier runs left in the cache.
struct FromCache<'a> {
    site: &'a Site<'a>,
    commit: Commit,
}

impl Files for FromCache<'_> {
    fn site(&self) -> &Site<'_> {
        self.site
    }

    fn commit(&self) -> &Commit {
        &self.commit
    }

    fn find(&self, file: &str, _progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError> {
        let at = || self.site.at(file);
        match self.site.cache.file(&self.commit, file).map_err(|trouble| self.site.trouble(file, trouble))? {
            Cached::Absent => Ok(None),
            Cached::Whole(path) => Ok(Some(path)),
            Cached::Damaged { expected, found } => Err(HubError::Damaged { at: at(), found, expected }),
        }
    }

    fn doubt(&self, _files: &[&str]) -> bool {
        false
    }

    fn missing(&self, file: &str) -> HubError {
        self.site.offline_miss(file)
    }

    fn reject(&self, _file: &str) {}
}

/// Finds every file of the model. The weights come last, so a snapshot that has them has everything.
fn gather(
    files: &dyn Files,
    wanted: Wanted,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let mut find = |file: &str| -> Result<Option<PathBuf>, HubError> {
        let path = files.find(file, progress)?;
        if let Some(path) = &path {
            let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
            progress(Progress::new(file, Unit::Bytes, size, size));
        }
        Ok(path)
    };

    if wanted == Wanted::Model {
        find(CONFIG)?.ok_or_else(|| files.missing(CONFIG))?;
    }
    let tokenizer = has_tokenizer(&mut find)? || (files.doubt(&TOKENIZERS) && has_tokenizer(&mut find)?);
    find(TOKENIZER_CONFIG)?;
    match wanted {
        Wanted::Tokenizer if tokenizer => {}
        Wanted::Tokenizer => return Err(files.missing(TOKENIZER)),
        Wanted::Model => weights(files, &mut find)?,
    }

    let commit = files.commit();
    Ok(Snapshot { folder: files.site().cache.snapshot(commit), commit: commit.to_string() })
}

/// The files that a tokenizer may consist of, and those that weights may begin with.
const TOKENIZERS: [&str; 4] = [TOKENIZER, VOCABULARY, MERGES, SENTENCE_PIECE];
const WEIGHTS: [&str; 4] = [SAFETENSORS_INDEX, SAFETENSORS, PICKLE, PICKLE_INDEX];

type Find<'a> = &'a mut dyn FnMut(&str) -> Result<Option<PathBuf>, HubError>;

/// Finds the tokenizer of the model. Returns whether there is one.
fn has_tokenizer(find: Find<'_>) -> Result<bool, HubError> {
    Ok(find(TOKENIZER)?.is_some()
        || (find(VOCABULARY)?.is_some() && find(MERGES)?.is_some())
        || find(SENTENCE_PIECE)?.is_some())
}

/// Finds the weights of the model.
fn weights(files: &dyn Files, find: Find<'_>) -> Result<(), HubError> {
    let mut first = first_of_weights(find)?;
    if first.is_none() && files.doubt(&WEIGHTS) {
        first = first_of_weights(find)?;
    }
    let (path, index) = match first.ok_or_else(|| files.missing(SAFETENSORS))? {
        (path, index @ (SAFETENSORS_INDEX | PICKLE_INDEX)) => (path, index),
        _ => return Ok(()),
    };
    let shards = index::shards(&path, files.site().at(index));
    for shard in shards.inspect_err(|_| files.reject(index))? {
        find(&shard)?.ok_or_else(|| files.missing(&shard))?;
    }
    Ok(())
}

/// The weights in one file, or the index of their shards.
fn first_of_weights(find: Find<'_>) -> Result<Option<(PathBuf, &'static str)>, HubError> {
    for file in WEIGHTS {
        if let Some(path) = find(file)? {
            return Ok(Some((path, file)));
        }
    }
    Ok(None)
}
