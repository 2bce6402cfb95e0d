//! One commit of a repository on a Hub.

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf};

use super::{
    Answer, CONFIG, Files, HttpError, HubError, Site,
    cache::Cached,
    commit::Commit,
    download::Download,
    http::Http,
    http_error::shown,
    limits::{is_optional, limit},
};
use crate::{Progress, Unit};

pub(super) struct Remote<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) http: Http,
    pub(super) commit: Commit,
    /// The answer that named the commit, which is about `config.json`.
    config: Option<Answer>,
    /// The files that the Hub said are absent since the fetch began.
    absent: RefCell<BTreeSet<String>>,
}

/// The Hub's answer about a file.
enum Metadata {
    Present(Answer),
    /// The commit has no such file. It is `certain` if the answer names the commit and the reason.
    Absent {
        certain: bool,
    },
}

impl<'a> Remote<'a> {
    /// Asks the Hub which commit the revision stands for; a full commit hash needs no request.
    pub(super) fn resolve(
        site: &'a Site<'a>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HubError> {
        let http = Http::new(site.options).ok_or_else(|| HubError::Setting {
            name: "HF_ENDPOINT",
            problem: format!("{:?} is not a URL", site.options.endpoint()),
        })?;
        let absent = RefCell::default();
        if let Some(commit) = Commit::parse(site.repo.revision()) {
            return Ok(Remote { site, http, commit, config: None, absent });
        }
        match metadata(site, &http, site.repo.revision(), CONFIG, progress)? {
            Metadata::Present(answer) => {
                Ok(Remote { site, http, commit: answer.commit.clone(), config: Some(answer), absent })
            }
            Metadata::Absent { .. } => Err(HubError::FileNotFound { at: site.at(CONFIG) }),
        }
    }

    /// Asks the Hub for its description of a file of this commit, once.
    fn metadata(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Metadata, HubError> {
        if let Some(answer) = self.config.as_ref().filter(|_| file == CONFIG) {
            return Ok(Metadata::Present(answer.clone()));
        }
        match metadata(self.site, &self.http, self.commit.as_str(), file, progress)? {
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
}

/// The report that the Hub was asked about a file, and has not answered.
pub(super) fn awaited(file: &str) -> Progress<'_> {
    Progress::new(file, Unit::Answers, 0, 1)
}

fn metadata(
    site: &Site<'_>,
    http: &Http,
    revision: &str,
    file: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Metadata, HubError> {
    let reply = http
        .head(&site.url(revision, file), file, &mut || progress(awaited(file)))
        .map_err(|failure| site.http(file, failure.host, failure.error))?;
    let host = reply.host.clone();
    // Another status below 400 is a redirect to another origin, which describes the file it leads to.
    let answer = match reply.status {
        200 | 301 | 302 | 303 | 307 | 308 => Answer::read(&reply, limit(file)).map(Metadata::Present),
        _ => match site.refusal(file, &reply) {
            Some(HubError::FileNotFound { .. }) => {
                let code = reply.header("x-error-code");
                let commit = reply.header("x-repo-commit");
                let certain = matches!(code, Ok(Some("EntryNotFound")))
                    && matches!(commit, Ok(Some(commit)) if commit == revision);
                Ok(Metadata::Absent { certain })
            }
            Some(error) => return Err(error),
            None => Err(HttpError::Status(reply.status)),
        },
    };
    answer.map_err(|error| site.http(file, host, error))
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
            Cached::Absent if is_optional(file) && cache.is_known_absent(&self.commit, file) => {
                return Ok(None);
            }
            Cached::Absent => {}
        }
        match self.metadata(file, progress)? {
            Metadata::Present(answer) => {
                Download { remote: self, file, answer: &answer }.bring(progress).map(Some)
            }
            Metadata::Absent { certain } => {
                self.absent.borrow_mut().insert(file.to_owned());
                if certain && is_optional(file) {
                    // This only saves the next run a request, so a cache that cannot be written is not an error here.
                    let _ = cache.note_absent(&self.commit, file);
                }
                Ok(None)
            }
        }
    }

    fn doubt(&self, files: &[&str]) -> bool {
        let doubted = files.iter().filter(|&&file| {
            !self.absent.borrow().contains(file) && self.site.cache.forget_absence(&self.commit, file)
        });
        doubted.count() > 0
    }

    fn missing(&self, file: &str) -> HubError {
        HubError::FileNotFound { at: self.site.at(file) }
    }

    fn reject(&self, file: &str) {
        // A file that cannot be removed is rejected again next time.
        let _ = self.site.cache.forget(&self.commit, file);
    }
}
