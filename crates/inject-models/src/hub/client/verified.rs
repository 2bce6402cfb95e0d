//! The comparison of a blob with its name, which is the hash of its content.
//!
//! A small blob is hashed each time it is found. A large one is hashed when it is first used, and whenever its length or its time
//! of change is another than in the record that is kept of that.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::{
    below::{Below, Trouble},
    identity::{Identity, RunningHash},
};
use crate::checkpoint::read_text;

/// Blobs up to this size are hashed each time they are found: a few milliseconds.
const SMALL: u64 = 16 << 20;
/// Bytes that are read at once.
pub(super) const BUFFER: usize = 1 << 16;

/// The blobs of one repository's folder.
pub(super) struct Verified<'a> {
    below: &'a Below,
    repo: &'a Path,
}

impl<'a> Verified<'a> {
    pub(super) fn new(below: &'a Below, repo: &'a Path) -> Self {
        Verified { below, repo }
    }

    /// The expected and the actual hash of a file that is not what its identity says.
    pub(super) fn damage(
        &self,
        identity: &Identity,
        path: &Path,
    ) -> Result<Option<(String, String)>, Trouble> {
        let Some(expected) = identity.hash() else { return Ok(None) };
        if self.is_noted(expected, path) {
            return Ok(None);
        }
        let found = hash_of(identity, path).map_err(Trouble::at(path))?;
        if found != expected {
            return Ok(Some((expected.to_owned(), found)));
        }
        self.note(expected, path);
        Ok(None)
    }

    /// Saves later runs the hashing of a large blob. A cache that cannot be written is not an error here.
    pub(super) fn note(&self, name: &str, blob: &Path) {
        if let Some(stamp) = stamp(blob) {
            let _ = self.below.write(&self.record(name), &stamp);
        }
    }

    fn is_noted(&self, name: &str, blob: &Path) -> bool {
        let record = self.below.file(&self.record(name)).ok().flatten();
        record.is_some_and(|record| {
            stamp(blob).is_some_and(|stamp| read_text(&record).is_ok_and(|text| text == stamp))
        })
    }

    fn record(&self, name: &str) -> PathBuf {
        self.repo.join(".verified").join(name)
    }
}

fn hash_of(identity: &Identity, path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = RunningHash::new(identity, file.metadata()?.len());
    hash_rest(&mut file, &mut hash)?;
    Ok(hash.finish())
}

/// Hashes the rest of a file, and returns its length.
pub(super) fn hash_rest(file: &mut File, hash: &mut RunningHash) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            read => {
                hash.update(&buffer[..read]);
                total += read as u64;
            }
        }
    }
}

/// Length and time of change of a large file; `None` for a small one.
fn stamp(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    (metadata.len() > SMALL).then(|| format!("{} {}", metadata.len(), modified.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a blob of that many bytes.
    fn with_blob(length: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("blob");
        fs::write(&blob, vec![b'a'; length as usize]).unwrap();
        (folder, blob)
    }

    #[test]
    fn a_large_blob_is_hashed_again_only_after_a_change() {
        let (folder, blob) = with_blob(SMALL + 1);
        let below = Below::new(folder.path().to_owned());
        let verified = Verified::new(&below, Path::new("repo"));
        let name = hash_of(&Identity::Opaque, &blob).unwrap();
        assert!(!verified.is_noted(&name, &blob));
        assert_eq!(verified.damage(&Identity::of(&name), &blob).unwrap(), None);
        assert!(verified.is_noted(&name, &blob));
        File::options().append(true).open(&blob).unwrap().set_modified(UNIX_EPOCH).unwrap();
        assert!(!verified.is_noted(&name, &blob));
    }

    #[test]
    fn a_small_blob_is_hashed_each_time() {
        let (folder, blob) = with_blob(7);
        let below = Below::new(folder.path().to_owned());
        let verified = Verified::new(&below, Path::new("repo"));
        let name = hash_of(&Identity::Opaque, &blob).unwrap();
        assert_eq!(verified.damage(&Identity::of(&name), &blob).unwrap(), None);
        fs::write(&blob, "bbbbbbb").unwrap();
        let (expected, found) = verified.damage(&Identity::of(&name), &blob).unwrap().unwrap();
        assert!(expected == name && found != name);
    }

    #[cfg(unix)]
    #[test]
    fn a_record_outside_the_folder_does_not_count() {
        let (folder, blob) = with_blob(SMALL + 1);
        let inside = folder.path().join("inside");
        let below = Below::new(inside.clone());
        let verified = Verified::new(&below, Path::new("repo"));
        fs::create_dir_all(inside.join("repo/.verified")).unwrap();
        fs::write(folder.path().join("record"), stamp(&blob).unwrap()).unwrap();
        let name = "a".repeat(64);
        std::os::unix::fs::symlink("../../../record", inside.join("repo/.verified").join(&name)).unwrap();
        assert!(!verified.is_noted(&name, &blob));
    }
}
