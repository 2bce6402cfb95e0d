//! The two requests of a caller: a model's files, and a tokenizer's.

use super::{
    commit::Commit,
    error::HubError,
    from_cache::FromCache,
    limits::CONFIG,
    options::HubOptions,
    remote::Remote,
    site::Site,
    snapshot::{Snapshot, Wanted, gather},
};
use crate::{hub::repo::HubRepo, note::causes, progress::Progress};

/// Makes a repository's model files present in the cache, and returns their folder.
///
/// The files are `config.json`, `tokenizer.json`, or else `vocab.json` and `merges.txt`, or else `tokenizer.model`, and
/// `tokenizer_config.json` with the tokenizer file that it selects for this release of transformers (where the repository has them),
/// and the weights: the shards named by `model.safetensors.index.json`, else `model.safetensors`, else `pytorch_model.bin`, else the
/// shards named by `pytorch_model.bin.index.json`. No other file
/// of the repository is requested.
///
/// `progress` receives the number of bytes of each file that have arrived, with those of an interrupted download that is resumed.
/// Once a file is in the snapshot folder, fetched now or found in the cache, it gets one report in which `done` is `total`.
///
/// # Requests
///
/// - Offline: none. `refs/<revision>` of the cache names the commit.
/// - A revision that is a full commit hash: only for files that the cache does not hold and the commit is not known to lack. If
///   `model.safetensors` is in the cache, there need be no index of shards. Any other file is known to be absent when two fetches, each
///   of which got everything else, were told so by the Hub an hour apart: an answer may be wrong, and no hash would show it.
/// - A branch or a tag: one to learn its commit, then for every file that the cache does not hold. The cache's ref is moved only after
///   every file of the commit has arrived, so what a later offline run finds is complete.
/// - A blob that another commit brought already is linked, not fetched again. An interrupted download is resumed.
/// - If the Hub cannot be reached, answers with an error status, or no longer shows the repository, a complete
///   snapshot in the cache is used, as `huggingface_hub` does, and [`Snapshot::from_cache`] says why. So it is if the Hub no longer
///   has a commit that the caller named by its hash. A missing branch, tag or file stays an error.
///
/// A request takes the proxy that the environment names in `https_proxy` or `http_proxy`, by the scheme of the server, or else in
/// `all_proxy`. It takes none to a server on this machine or in `no_proxy`. The names may be in upper case.
///
/// # Promises
///
/// Whatever the Hub answers:
///
/// - Nothing is written outside the cache folder, and nothing outside it is read as a model's file.
/// - The token goes to the endpoint's own scheme, host and port, and nowhere else.
/// - The metadata of a file is requested once. The content must have the length and the hash that it announces, and gets its
///   name when it is whole and right. An etag that is not a hash, as some mirrors have it, leaves only the length.
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
/// `vocab.json` and `merges.txt`, or else `tokenizer.model`, and `tokenizer_config.json` with the tokenizer file that it selects for this
/// release of transformers, if there is one.
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

fn fetch_files(
    repo: &HubRepo,
    options: &HubOptions,
    wanted: Wanted,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let site = Site::new(repo, options);
    if options.is_offline() {
        let commit = site.cached_commit()?.ok_or_else(|| site.offline_miss(CONFIG))?;
        return gather(&FromCache { site: &site, commit }, wanted, progress);
    }
    let (commit, error) = match Remote::resolve(&site) {
        Ok(remote) => {
            match gather(&remote, wanted, progress).and_then(|snapshot| remote.conclude(wanted, snapshot)) {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) => (Some(remote.commit), error),
            }
        }
        Err(error) => (site.cached_commit()?, error),
    };
    let stands_in = |commit: &Commit| error.leaves_valid(commit.as_str() == repo.revision());
    let Some(commit) = commit.filter(stands_in) else { return Err(error) };
    match gather(&FromCache { site: &site, commit }, wanted, progress) {
        Ok(snapshot) => Ok(Snapshot { from_cache: Some(causes(&error)), ..snapshot }),
        Err(_) => Err(error),
    }
}
