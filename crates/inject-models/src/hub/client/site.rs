//! The places where a fetch looks, and the errors that name them.

use super::{
    below::Trouble,
    cache::RepoCache,
    commit::Commit,
    error::{HubError, HubFile},
    http::Reply,
    http_error::HttpError,
    limits::CONFIG,
    options::HubOptions,
};
use crate::hub::repo::HubRepo;

/// The places where a fetch looks: its arguments, and the repository's part of the cache.
pub(super) struct Site<'a> {
    pub(super) repo: &'a HubRepo,
    pub(super) options: &'a HubOptions,
    pub(super) cache: RepoCache,
}

impl<'a> Site<'a> {
    pub(super) fn new(repo: &'a HubRepo, options: &'a HubOptions) -> Self {
        Site { repo, options, cache: RepoCache::new(options.cache_dir(), repo) }
    }

    pub(super) fn at(&self, file: &str) -> Box<HubFile> {
        let endpoint = self.options.endpoint().to_owned();
        Box::new(HubFile { file: file.to_owned(), repo: self.repo.clone(), endpoint })
    }

    /// The address of a file. Revision and file consist of characters that need no escaping, except for the `/` of a revision.
    pub(super) fn url(&self, revision: &str, file: &str) -> String {
        format!(
            "{}/{}/resolve/{}/{file}",
            self.options.endpoint(),
            self.repo.id(),
            revision.replace('/', "%2F")
        )
    }

    pub(super) fn offline_miss(&self, file: &str) -> HubError {
        HubError::OfflineMiss { at: self.at(file), cache_dir: self.options.cache_dir().to_owned() }
    }

    pub(super) fn http(&self, file: &str, host: String, source: HttpError) -> HubError {
        HubError::Http { at: self.at(file), host, source }
    }

    pub(super) fn trouble(&self, file: &str, trouble: Trouble) -> HubError {
        let at = self.at(file);
        match trouble {
            Trouble::Io { path, source } => HubError::Cache { at, path, source },
            Trouble::LeadsOut { path, target } => HubError::LeadsOut { at, path, target },
            Trouble::Busy { path, waited } => HubError::Busy { at, path, waited },
        }
    }

    /// The meaning of a refusal; `None` if the status says nothing about the file.
    pub(super) fn refusal(&self, file: &str, reply: &Reply) -> Option<HubError> {
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

    pub(super) fn cached_commit(&self) -> Result<Option<Commit>, HubError> {
        self.cache.commit_of(self.repo).map_err(|trouble| self.trouble(CONFIG, trouble))
    }
}
