//! One repository's folder in the cache, as Python's `huggingface_hub` lays it out.
//!
//! ```text
//! models--owner--name/
//!   blobs/<etag>                        the contents
//!   snapshots/<commit>/<file>           links into blobs
//!   refs/<revision>                     the commit that a branch or tag stands for
//!   .no_exist/<commit>/<file>           empty: the commit has no such file
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hf_hub::{Repo, RepoType};

use super::{HubRepo, index::is_plain_path};

pub(super) struct RepoCache {
    root: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &HubRepo) -> Self {
        let name = Repo::new(repo.id().to_owned(), RepoType::Model).folder_name();
        RepoCache { root: cache_dir.join(name) }
    }

    /// The commit that a revision stood for when it was last fetched.
    pub(super) fn commit_of(&self, repo: &HubRepo) -> Option<String> {
        if repo.is_commit() {
            return Some(repo.revision().to_owned());
        }
        let text = fs::read_to_string(self.root.join("refs").join(repo.revision())).ok()?;
        // The file may be the work of another program: it must not lead out of the snapshots.
        Some(text.trim().to_owned()).filter(|commit| is_commit_name(commit))
    }

    /// Lets a branch or tag stand for a commit. A commit stands for itself.
    pub(super) fn point(&self, repo: &HubRepo, commit: &str) -> io::Result<()> {
        if repo.is_commit() || self.commit_of(repo).as_deref() == Some(commit) {
            return Ok(());
        }
        write_with_parents(&self.root.join("refs").join(repo.revision()), commit)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The path of a file, if the cache holds it.
    pub(super) fn file(&self, commit: &str, file: &str) -> Option<PathBuf> {
        Some(self.snapshot(commit).join(file)).filter(|path| path.is_file())
    }

    pub(super) fn is_known_absent(&self, commit: &str, file: &str) -> bool {
        self.absence(commit, file).exists()
    }

    /// Remembers that a commit, which never changes, has no such file.
    pub(super) fn note_absent(&self, commit: &str, file: &str) -> io::Result<()> {
        write_with_parents(&self.absence(commit, file), "")
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Makes a blob that is already here a file of the snapshot.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str) -> io::Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Up from the file's folder to `snapshots/`, and once more; relative, so that the cache can be moved.
        let up = "../".repeat(file.split('/').count() + 1);
        let blob = format!("{up}blobs/{etag}");
        match link_or_copy(Path::new(&blob), &path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_file() => Ok(path),
            outcome => outcome.map(|()| path),
        }
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(file)
    }
}

/// Whether a text from outside can be the name of a snapshot folder.
pub(super) fn is_commit_name(text: &str) -> bool {
    is_plain_path(text) && !text.contains('/')
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

fn write_with_parents(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_stands_for_the_commit_it_was_pointed_at() {
        let folder = tempfile::tempdir().unwrap();
        let repo: HubRepo = "owner/name@refs/pr/1".parse().unwrap();
        let cache = RepoCache::new(folder.path(), &repo);
        assert_eq!(cache.commit_of(&repo), None);
        cache.point(&repo, "c0ffee").unwrap();
        assert_eq!(cache.commit_of(&repo).unwrap(), "c0ffee");
        assert!(folder.path().join("models--owner--name/refs/refs/pr/1").is_file());
    }

    #[test]
    fn a_ref_that_leads_out_of_the_snapshots_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let repo: HubRepo = "gpt2".parse().unwrap();
        let cache = RepoCache::new(folder.path(), &repo);
        for text in ["../..", "", "/etc", "a/b"] {
            write_with_parents(&folder.path().join("models--gpt2/refs/main"), text).unwrap();
            assert_eq!(cache.commit_of(&repo), None, "{text}");
        }
    }

    #[test]
    fn a_linked_blob_is_read_through_the_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(folder.path(), &"gpt2".parse().unwrap());
        write_with_parents(&cache.blob("e"), "content").unwrap();
        for file in ["a.json", "sub/folder/b.json"] {
            assert_eq!(cache.file("c", file), None);
            let path = cache.link("e", "c", file).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "content");
            assert_eq!(cache.file("c", file), Some(path));
        }
    }

    #[test]
    fn an_absent_file_is_remembered_for_its_commit_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(folder.path(), &"gpt2".parse().unwrap());
        cache.note_absent("c1", "x.json").unwrap();
        assert!(cache.is_known_absent("c1", "x.json"));
        assert!(!cache.is_known_absent("c2", "x.json"));
    }
}
