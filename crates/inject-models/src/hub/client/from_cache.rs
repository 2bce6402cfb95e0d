//! One commit of a repository, as far as the cache has it.

use std::path::PathBuf;

use super::{cache::Cached, commit::Commit, error::HubError, site::Site, snapshot::Files};
use crate::progress::Progress;

/// Only what earlier runs left in the cache.
pub(super) struct FromCache<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) commit: Commit,
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

    fn missing(&self, file: &str) -> HubError {
        self.site.offline_miss(file)
    }

    fn reject(&self, _file: &str) {}
}
