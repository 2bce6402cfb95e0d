//! One commit of a repository on a Hub.

use std::{cell::RefCell, path::PathBuf};

use super::{
    absent::Absence,
    answer::Answer,
    below::Trouble,
    cache::Cached,
    commit::Commit,
    download::Download,
    error::HubError,
    http::{Http, Reply},
    http_error::{HttpError, shown},
    limits::{CONFIG, is_index, limit},
    site::Site,
    snapshot::{Files, Snapshot, Wanted},
};
use crate::progress::Progress;

pub(super) struct Remote<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) http: Http,
    pub(super) commit: Commit,
    /// The answer that named the commit, which is about `config.json`. `None` if the user named the commit.
    config: Option<Answer>,
    /// The files that the Hub stated to be absent.
    absent: RefCell<Vec<Absence>>,
    /// An index of shards that is not a file of the snapshot yet, and the name of its blob. An index without its shards would hide
    /// the weights of a snapshot that has them in one file.
    index: RefCell<Option<(String, String)>>,
}

/// The Hub's answer about a file.
enum Metadata {
    Present(Answer),
    /// The commit has no such file. It is `stated` if the answer says so in as many words: another server's 404 may mean anything.
    Absent {
        stated: bool,
    },
}

impl<'a> Remote<'a> {
    /// Asks the Hub which commit the revision stands for; a full commit hash needs no request.
    pub(super) fn resolve(site: &'a Site<'a>) -> Result<Self, HubError> {
        let http = Http::new(site.options).ok_or_else(|| HubError::Setting {
            name: "HF_ENDPOINT",
            problem: format!("{:?} is not a URL", site.options.endpoint()),
        })?;
        if let Some(commit) = Commit::parse(site.repo.revision()) {
            return Ok(Remote::new(site, http, commit, None));
        }
        match metadata(site, &http, site.repo.revision(), CONFIG)? {
            Metadata::Present(answer) => Ok(Remote::new(site, http, answer.commit.clone(), Some(answer))),
            Metadata::Absent { .. } => Err(HubError::FileNotFound { at: site.at(CONFIG) }),
        }
    }

    fn new(site: &'a Site<'a>, http: Http, commit: Commit, config: Option<Answer>) -> Self {
        Remote { site, http, commit, config, absent: RefCell::default(), index: RefCell::default() }
    }

    /// Asks the Hub for its description of a file of this commit, once.
    fn metadata(&self, file: &str) -> Result<Metadata, HubError> {
        if let Some(answer) = self.config.as_ref().filter(|_| file == CONFIG) {
            return Ok(Metadata::Present(answer.clone()));
        }
        match metadata(self.site, &self.http, self.commit.as_str(), file)? {
            Metadata::Present(answer) if answer.commit != self.commit => {
                let error = HttpError::Header {
                    name: "X-Repo-Commit",
                    found: format!("\"{}\"", shown(answer.commit.as_str())),
                    expected: "the commit that was asked for",
                };
                Err(self.site.http(file, self.http.host(), error))
            }
            metadata => Ok(metadata),
        }
    }

    /// Makes a blob a file of the snapshot. An index becomes one in the end.
    pub(super) fn place(&self, file: &str, blob: String) -> Result<PathBuf, Trouble> {
        let cache = &self.site.cache;
        if is_index(file) {
            let path = cache.blob(&blob);
            self.index.replace(Some((file.to_owned(), blob)));
            return Ok(path);
        }
        cache.link(&blob, &self.commit, file)
    }

    /// Keeps what the whole snapshot was fetched for: an index of its shards is one of its files, the branch or tag stands for its
    /// commit from now on, and what the commit lacks is on record.
    pub(super) fn conclude(&self, wanted: Wanted, snapshot: Snapshot) -> Result<Snapshot, HubError> {
        let cache = &self.site.cache;
        if let Some((file, blob)) = self.index.take() {
            cache.link(&blob, &self.commit, &file).map_err(|trouble| self.site.trouble(&file, trouble))?;
        }
        cache.note_absent(&self.commit, &self.absent.borrow());
        // The snapshot of a tokenizer may lack the files of the model.
        if wanted == Wanted::Model || self.site.cached_commit()?.is_none() {
            cache
                .point(self.site.repo, &self.commit)
                .map_err(|trouble| self.site.trouble(CONFIG, trouble))?;
        }
        Ok(snapshot)
    }
}

fn metadata(site: &Site<'_>, http: &Http, revision: &str, file: &str) -> Result<Metadata, HubError> {
    let reply = http
        .head(&site.url(revision, file), file)
        .map_err(|failure| site.http(file, failure.host, failure.error))?;
    let host = reply.host.clone();
    // Another status below 400 is a redirect to another origin, which describes the file it leads to.
    let answer = match reply.status {
        200 | 301 | 302 | 303 | 307 | 308 => Answer::read(&reply, limit(file)).map(Metadata::Present),
        _ => match site.refusal(file, &reply) {
            Some(HubError::FileNotFound { .. }) => {
                Ok(Metadata::Absent { stated: states_absence(&reply, revision) })
            }
            Some(error) => return Err(error),
            None => Err(HttpError::Status(reply.status)),
        },
    };
    answer.map_err(|error| site.http(file, host, error))
}

/// Whether an answer states that a commit lacks a file.
///
/// # Source
///
/// huggingface/huggingface_hub, `file_download.py`, `_get_metadata_or_catch_error`.
fn states_absence(reply: &Reply, commit: &str) -> bool {
    let says = |name, expected| reply.header(name).is_ok_and(|found| found == Some(expected));
    says("x-error-code", "EntryNotFound") && says("x-repo-commit", commit)
}

impl Files for Remote<'_> {
    fn site(&self) -> &Site<'_> {
        self.site
    }

    fn commit(&self) -> &Commit {
        &self.commit
    }

    fn find(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError> {
        let cache = &self.site.cache;
        let trouble = |trouble| self.site.trouble(file, trouble);
        match cache.file(&self.commit, file).map_err(trouble)? {
            Cached::Whole(path) => return Ok(Some(path)),
            Cached::Damaged { .. } => cache.forget(&self.commit, file).map_err(trouble)?,
            // For a branch it is asked each time, which makes up for answers that were wrong.
            Cached::Absent
                if self.config.is_none()
                    && cache.is_known_to_lack(&self.commit, file).map_err(trouble)? =>
            {
                return Ok(None);
            }
            Cached::Absent => {}
        }
        match self.metadata(file)? {
            Metadata::Present(answer) => {
                Download { remote: self, file, answer: &answer }.bring(progress).map(Some)
            }
            Metadata::Absent { stated } => {
                self.absent.borrow_mut().extend(stated.then(|| Absence::now(file)));
                Ok(None)
            }
        }
    }

    fn missing(&self, file: &str) -> HubError {
        HubError::FileNotFound { at: self.site.at(file) }
    }

    fn reject(&self, file: &str) {
        // A file that cannot be removed is rejected again next time.
        let _ = self.site.cache.forget(&self.commit, file);
    }
}
