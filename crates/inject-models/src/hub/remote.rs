//! One commit of a repository on a Hub, through hf-hub.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata},
};

use super::{CONFIG, Files, HubError, Progress, Site, cache::is_commit_name, index::is_plain_path};

/// How often a download that made headway is taken up again, as in `huggingface_hub`.
const ATTEMPTS: usize = 5;
/// How long the question why a file was refused may take.
const DIAGNOSIS: Duration = Duration::from_secs(10);

pub(super) struct Remote<'a> {
    site: &'a Site<'a>,
    api: Api,
    pub(super) commit: String,
}

impl<'a> Remote<'a> {
    /// Asks the Hub which commit the revision stands for; a full commit hash needs no request.
    pub(super) fn resolve(site: &'a Site<'a>) -> Result<Self, HubError> {
        // `from_cache`, as `ApiBuilder::new` panics where there is no home folder.
        let api = ApiBuilder::from_cache(Cache::new(site.options.cache_dir().to_owned()))
            .with_endpoint(site.options.endpoint().to_owned())
            .with_token(site.options.token().map(str::to_owned))
            .with_progress(false)
            .build()
            .map_err(|error| failure(site, CONFIG, error))?;
        let mut remote = Remote { site, api, commit: site.repo.revision().to_owned() };
        if !site.repo.is_commit() {
            let metadata = remote.metadata(CONFIG).map_err(|error| remote.explained(error))?;
            if !is_commit_name(metadata.commit_hash()) {
                return Err(remote.answer(CONFIG, format!("commit {:?}", metadata.commit_hash())));
            }
            remote.commit = metadata.commit_hash().to_owned();
        }
        Ok(remote)
    }

    fn at_commit(&self) -> ApiRepo {
        let id = self.site.repo.id().to_owned();
        self.api.repo(Repo::with_revision(id, RepoType::Model, self.commit.clone()))
    }

    fn metadata(&self, file: &str) -> Result<Metadata, HubError> {
        let url = self.at_commit().url(file);
        self.api.metadata(&url).map_err(|error| failure(self.site, file, error))
    }

    fn answer(&self, file: &str, problem: String) -> HubError {
        HubError::Answer { at: self.site.at(file), problem }
    }

    /// Tells a missing repository or revision from a missing file.
    ///
    /// hf-hub 0.5 drops the `X-Error-Code` of a file's answer, but lets us send the request for the repository's
    /// description ourselves. A server without that API counts as one without the repository.
    fn explained(&self, error: HubError) -> HubError {
        if !matches!(error, HubError::FileNotFound { .. } | HubError::Gated { .. }) {
            return error;
        }
        let request = self.at_commit().info_request().config();
        let request = request.http_status_as_error(false).timeout_global(Some(DIAGNOSIS)).build();
        let Ok(response) = request.call() else { return error };
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let at = self.site.at(CONFIG);
        match (error, code, response.status().as_u16()) {
            (_, Some("RepoNotFound"), _) => HubError::RepoNotFound { at },
            (_, Some("RevisionNotFound"), _) => HubError::RevisionNotFound { at },
            (HubError::FileNotFound { .. }, None, 404) => HubError::RepoNotFound { at },
            (error, ..) => error,
        }
    }

    fn cache_error(&self, file: &str, path: &Path, source: io::Error) -> HubError {
        HubError::Cache { at: self.site.at(file), path: path.to_owned(), source }
    }

    /// Downloads a file, or links it if its blob came with another commit.
    fn bring(
        &self,
        file: &str,
        metadata: &Metadata,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let blob = self.site.cache.blob(metadata.etag());
        let part = blob.with_extension("part"); // hf-hub's name for an unfinished download
        let size = metadata.size() as u64;
        let mut attempt = 1;
        loop {
            let turn = wait_for_turn(&blob).map_err(|source| self.cache_error(file, &blob, source))?;
            if length(&blob) >= Some(size) {
                let linked = self.site.cache.link(metadata.etag(), &self.commit, file);
                return linked.map_err(|source| self.cache_error(file, &blob, source));
            }
            // hf-hub would ask for the empty rest of a part that is complete, and for ever be refused (416).
            if length(&part) >= Some(size) {
                fs::remove_file(&part).map_err(|source| self.cache_error(file, &part, source))?;
            }
            let before = length(&part).unwrap_or(0);
            drop(turn);
            let meter = Meter { file, received: 0, total: size, progress: &mut *progress };
            match self.at_commit().download_with_progress(file, meter) {
                Ok(path) => return self.checked(file, path, &blob, size, before),
                Err(error) if attempt < ATTEMPTS && (length(&part) > Some(before) || is_race(&error)) => {
                    attempt += 1
                }
                Err(error) => return Err(failure(self.site, file, error)),
            }
        }
    }

    /// Removes what is not as long as the Hub said. hf-hub does not look at the length of what it stored.
    ///
    /// A file may turn out longer without harm: the announced length is that of the compressed form if the server
    /// compresses. Only after a resumed download is that a sign of the wrong bytes.
    fn checked(
        &self,
        file: &str,
        path: PathBuf,
        blob: &Path,
        expected: u64,
        resumed_at: u64,
    ) -> Result<PathBuf, HubError> {
        let received = length(&path).unwrap_or(0);
        if received == expected || (received > expected && resumed_at == 0) {
            return Ok(path);
        }
        for broken in [&path, blob] {
            match fs::remove_file(broken) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(self.cache_error(file, broken, source));
                }
                _ => {}
            }
        }
        Err(HubError::Truncated { at: self.site.at(file), expected, received })
    }
}

impl Files for Remote<'_> {
    fn site(&self) -> &Site<'_> {
        self.site
    }

    fn commit(&self) -> &str {
        &self.commit
    }

    fn find(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError> {
        let cache = &self.site.cache;
        if let Some(path) = cache.file(&self.commit, file) {
            return Ok(Some(path));
        }
        if cache.is_known_absent(&self.commit, file) {
            return Ok(None);
        }
        let metadata = match self.metadata(file) {
            Ok(metadata) => metadata,
            Err(error) if file == CONFIG => return Err(self.explained(error)),
            Err(HubError::FileNotFound { .. }) => {
                // Only spares the next run a request, so a cache that cannot be written is no error here.
                let _ = cache.note_absent(&self.commit, file);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if metadata.commit_hash() != self.commit {
            let problem = format!("commit {:?}, expected {:?}", metadata.commit_hash(), self.commit);
            return Err(self.answer(file, problem));
        }
        if !is_plain_path(metadata.etag()) {
            return Err(self.answer(file, format!("etag {:?}", metadata.etag())));
        }
        self.bring(file, &metadata, progress).map(Some)
    }

    fn missing(&self, file: &str) -> HubError {
        HubError::FileNotFound { at: self.site.at(file) }
    }
}

/// Forwards hf-hub's counting to the caller's function.
struct Meter<'a> {
    file: &'a str,
    received: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl hf_hub::api::Progress for Meter<'_> {
    /// Called once before and once after the response's header, so it reports nothing.
    fn init(&mut self, _size: usize, _file: &str) {
        self.received = 0;
    }

    fn update(&mut self, size: usize) {
        if size > 0 {
            self.received += size as u64;
            (self.progress)(Progress::Received {
                file: self.file,
                received: self.received,
                total: self.total,
            });
        }
    }

    fn finish(&mut self) {}
}

/// Blocks while another process downloads the blob, where hf-hub gives up after five seconds. The lock is hf-hub's,
/// so it must be dropped before hf-hub is called.
fn wait_for_turn(blob: &Path) -> io::Result<File> {
    if let Some(parent) = blob.parent() {
        fs::create_dir_all(parent)?;
    }
    let lock = File::create(blob.with_extension("lock"))?;
    // On a file system without locks hf-hub will say so.
    let _ = lock.lock();
    Ok(lock)
}

/// Whether another process got between: it holds the lock, or has linked the file already.
fn is_race(error: &ApiError) -> bool {
    match error {
        ApiError::LockAcquisition(_) => true,
        ApiError::IoError(error) => error.kind() == io::ErrorKind::AlreadyExists,
        _ => false,
    }
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).map(|metadata| metadata.len()).ok()
}

/// What an error of hf-hub means for a file.
fn failure(site: &Site<'_>, file: &str, error: ApiError) -> HubError {
    let at = site.at(file);
    match (status(&error), error) {
        (Some(404), _) => HubError::FileNotFound { at },
        (Some(status @ (401 | 403)), _) => HubError::Gated { at, status },
        (_, ApiError::IoError(source)) if is_local(&source) => {
            HubError::Cache { at, path: site.options.cache_dir().to_owned(), source }
        }
        (
            _,
            error @ (ApiError::MissingHeader(_) | ApiError::InvalidHeader(_) | ApiError::ParseIntError(_)),
        ) => HubError::Answer { at, problem: error.to_string() },
        (_, error) => HubError::Network { at, source: Box::new(error) },
    }
}

/// The HTTP status of a refused request.
///
/// hf-hub 0.5 has no variant for it, and its `ureq::Error::StatusCode` cannot be named without depending on ureq,
/// so its text is read. The loopback tests of 401, 403 and 404 fail should the text ever change.
fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(error) = error else { return None };
    error.to_string().strip_prefix("http status: ")?.parse().ok()
}

/// Whether an I/O error is the disk's. hf-hub reports those of the disk and of the connection alike.
fn is_local(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, FileTooLarge, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        error.kind(),
        AlreadyExists
            | FileTooLarge
            | NotADirectory
            | NotFound
            | PermissionDenied
            | QuotaExceeded
            | ReadOnlyFilesystem
            | StorageFull
    )
}
