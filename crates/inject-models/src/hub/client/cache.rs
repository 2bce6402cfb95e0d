//! One repository's folder in the cache, as Python's `huggingface_hub` lays it out.
//!
//! ```text
//! .locks/models--owner--name/<etag>.lock   held while a blob is downloaded
//! models--owner--name/
//!   blobs/<etag>                           the contents, named by their hash
//!   snapshots/<commit>/<file>              links into blobs
//!   refs/<revision>                        the commit that a branch or tag stands for
//!   .verified/<etag>                       ours: the length and time of a large blob whose hash was compared
//!   .absent/<commit>                       ours: the files that fetches were told the commit lacks, and when
//! ```
//!
//! A blob's name is the hash of its content, and what is found in the cache is compared with it.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    absent::{Absence, Absent},
    below::{Below, Trouble},
    commit::Commit,
    identity::Identity,
    limits::{SAFETENSORS, SAFETENSORS_INDEX},
    verified::Verified,
};
use crate::hub::repo::HubRepo;

/// Longest file under `refs/` that is read. A commit has 40 characters.
const MAX_REF: u64 = 64;

/// The time between two looks at a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct RepoCache {
    below: Below,
    /// The repository's folder in the cache.
    name: PathBuf,
}

/// The state of a file in the cache.
#[derive(Debug, PartialEq)]
pub(super) enum Cached {
    /// The cache has no such file.
    Absent,
    /// The file, complete as far as its length and hash show.
    Whole(PathBuf),
    /// A file that is not what its blob's name says.
    Damaged { expected: String, found: String },
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &HubRepo) -> Self {
        let name = format!("models--{}", repo.id().replace('/', "--")).into();
        RepoCache { below: Below::new(cache_dir.to_owned()), name }
    }

    /// The commit that a revision stood for when it was last fetched.
    pub(super) fn commit_of(&self, repo: &HubRepo) -> Result<Option<Commit>, Trouble> {
        if let Some(commit) = Commit::parse(repo.revision()) {
            return Ok(Some(commit));
        }
        let Some(path) = self.below.file(&self.reference(repo))? else { return Ok(None) };
        let mut text = String::new();
        // The file may be the work of another program: it must not lead out of the snapshots.
        let read = File::open(path).and_then(|file| file.take(MAX_REF).read_to_string(&mut text));
        Ok(read.ok().and_then(|_| Commit::parse(text.trim())))
    }

    /// Lets a branch or tag stand for a commit. A commit stands for itself.
    pub(super) fn point(&self, repo: &HubRepo, commit: &Commit) -> Result<(), Trouble> {
        if self.commit_of(repo)?.as_ref() == Some(commit) {
            return Ok(());
        }
        self.below.write(&self.reference(repo), commit.as_str())
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.below.join(&self.name.join("snapshots").join(commit.as_str()))
    }

    /// Checks that nothing in the folder of a commit's files leads out of the cache. A model has files that are not asked for, and are
    /// read where they lie in the folder.
    pub(super) fn check_links(&self, commit: &Commit) -> Result<(), Trouble> {
        let snapshot = self.name.join("snapshots").join(commit.as_str());
        let Some(real) = self.below.resolve(&snapshot)? else { return Ok(()) };
        for entry in fs::read_dir(&real).map_err(Trouble::at(&real))? {
            let entry = entry.map_err(Trouble::at(&real))?;
            self.below.resolve(&snapshot.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// A file of a commit.
    pub(super) fn file(&self, commit: &Commit, file: &str) -> Result<Cached, Trouble> {
        let path = self.link_path(commit, file);
        let Some(real) = self.below.file(&path)? else { return Ok(Cached::Absent) };
        let path = self.below.join(&path);
        // A copy, where links are not possible, does not say which blob it is one of.
        let blob = fs::read_link(&path).ok().and_then(|blob| Some(blob.file_name()?.to_str()?.to_owned()));
        Ok(match self.verified().damage(&Identity::of(&blob.unwrap_or_default()), &real)? {
            None => Cached::Whole(path),
            Some((expected, found)) => Cached::Damaged { expected, found },
        })
    }

    /// Whether a file that is not in the snapshot need not be asked about: weights in one file need no list of files, and others are
    /// known to be absent.
    pub(super) fn is_known_to_lack(&self, commit: &Commit, file: &str) -> Result<bool, Trouble> {
        let weights = self.link_path(commit, SAFETENSORS);
        Ok(self.absent().is_known(commit, file)
            || (file == SAFETENSORS_INDEX && self.below.file(&weights)?.is_some()))
    }

    /// Records that a whole fetch was told of these absences.
    pub(super) fn note_absent(&self, commit: &Commit, told: &[Absence]) {
        self.absent().note(commit, told);
    }

    /// Whether no file of a commit can have this path, because another file lies above it or a folder lies there.
    pub(super) fn is_taken(&self, commit: &Commit, file: &str) -> bool {
        let (path, snapshot) = (self.below.join(&self.link_path(commit, file)), self.snapshot(commit));
        let is_other = |above: &Path| fs::symlink_metadata(above).is_ok() && !above.is_dir();
        path.is_dir() || path.ancestors().skip(1).take_while(|above| *above != snapshot).any(is_other)
    }

    /// Removes a file from the snapshot. Its blob stays: it may be a file of other commits.
    pub(super) fn forget(&self, commit: &Commit, file: &str) -> Result<(), Trouble> {
        self.below.remove(&self.link_path(commit, file))
    }

    /// The length of the blob of an identity, if the cache has it. Anything else of that name is removed.
    ///
    /// Only the content decides. An answer that names the hash may be wrong about all the rest, and other commits may have the blob.
    pub(super) fn blob_length(&self, identity: &Identity) -> Result<Option<u64>, Trouble> {
        let Some(name) = identity.hash() else { return Ok(None) };
        let blob = self.blob_path(name);
        if let Some(real) = self.below.file(&blob)?
            && self.verified().damage(identity, &real)?.is_none()
        {
            return Ok(Some(fs::metadata(&real).map_err(Trouble::at(&real))?.len()));
        }
        self.below.remove(&blob).map(|()| None)
    }

    /// Gives a complete download its name.
    pub(super) fn keep(&self, part: &Path, name: &str) -> Result<(), Trouble> {
        let [part, blob] = [part, &self.blob_path(name)].map(|path| self.below.join(path));
        fs::rename(part, &blob).map_err(Trouble::at(&blob))?;
        self.verified().note(name, &blob);
        Ok(())
    }

    /// Where a blob lies.
    pub(super) fn blob(&self, name: &str) -> PathBuf {
        self.below.join(&self.blob_path(name))
    }

    /// Waits until no other process downloads the blob. It is this one's turn until the file is dropped.
    ///
    /// Fails with [`Trouble::Busy`] if the lock is held for `patience` while the unfinished download does not grow.
    pub(super) fn turn(&self, key: &str, patience: Duration) -> Result<File, Trouble> {
        self.turn_by(&Instant::now, &mut thread::sleep, key, patience)
    }

    /// Does the same by the given clock.
    fn turn_by(
        &self,
        now: &dyn Fn() -> Instant,
        sleep: &mut dyn FnMut(Duration),
        key: &str,
        patience: Duration,
    ) -> Result<File, Trouble> {
        let path = Path::new(".locks").join(&self.name).join(format!("{key}.lock"));
        let lock = self.below.open(&path)?;
        let part = self.below.join(&self.part_path(key));
        let length = || fs::symlink_metadata(&part).map_or(0, |part| part.len());
        let (mut known, mut since) = (length(), now());
        // On a file system without locks two processes may spoil each other's download, which the hash shows.
        while let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let found = length();
            if found != known {
                (known, since) = (found, now());
            }
            let waited = now() - since;
            if waited >= patience {
                return Err(Trouble::Busy { path: self.below.join(&path), waited });
            }
            sleep(PAUSE.min(patience - waited));
        }
        Ok(lock)
    }

    /// The file of an unfinished download, and its path in the cache.
    pub(super) fn part(&self, key: &str) -> Result<(File, PathBuf), Trouble> {
        let path = self.part_path(key);
        Ok((self.below.open(&path)?, path))
    }

    fn blob_path(&self, name: &str) -> PathBuf {
        self.name.join("blobs").join(name)
    }

    fn part_path(&self, key: &str) -> PathBuf {
        self.blob_path(&format!("{key}.incomplete"))
    }

    pub(super) fn remove_part(&self, part: &Path) -> Result<(), Trouble> {
        self.below.remove(part)
    }

    fn reference(&self, repo: &HubRepo) -> PathBuf {
        self.name.join("refs").join(repo.revision())
    }

    fn link_path(&self, commit: &Commit, file: &str) -> PathBuf {
        self.name.join("snapshots").join(commit.as_str()).join(file)
    }

    /// Makes a blob a file of the snapshot.
    pub(super) fn link(&self, name: &str, commit: &Commit, file: &str) -> Result<PathBuf, Trouble> {
        self.absent().forget(commit, file);
        let path = self.link_path(commit, file);
        self.below.make_folder(path.parent().unwrap_or(Path::new("")))?;
        // Up from the file's folder to `snapshots/`, and once more; relative, so that the cache can be moved.
        let blob = PathBuf::from(format!("{}blobs/{name}", "../".repeat(file.split('/').count() + 1)));
        let link = self.below.join(&path);
        match link_or_copy(&blob, &link) {
            Ok(()) => Ok(link),
            // Another process was faster, or the blob was gone for a while.
            Err(_) if fs::read_link(&link).is_ok_and(|found| found == blob) => Ok(link),
            // The link leads to another blob, which is gone.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.below.remove(&path)?;
                link_or_copy(&blob, &link).map(|()| link.clone()).map_err(Trouble::at(&link))
            }
            Err(error) => Err(Trouble::at(&link)(error)),
        }
    }

    fn absent(&self) -> Absent<'_> {
        Absent::new(&self.below, &self.name)
    }

    fn verified(&self) -> Verified<'_> {
        Verified::new(&self.below, &self.name)
    }
}

#[cfg(unix)]
fn link_or_copy(blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(blob, path)
}

/// Elsewhere links need a privilege; the blob's path is given relative to the new file.
#[cfg(not(unix))]
fn link_or_copy(blob: &Path, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::copy(folder.join(blob), path).map(|_| ())
}
