//! Hashes of large files that were computed before.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{identity::file_hash, read_text};
use crate::{error::ModelError, whole_file};

/// The hashes of large weight files, kept in a file, so that [`Model::weight_hash_known`](crate::Model::weight_hash_known) reads the
/// weights once and not again for every command.
///
/// A weight file is the one that was hashed if its path, its size and its time of modification are the same, and on Unix also its
/// number in the file system and the time of its last change, which no program can set back. git recognises unchanged files in the
/// same way. A file that was modified in the last seconds before it was hashed is not remembered, because a later change might
/// have the same time. Files of less than 256 MiB are hashed each time.
///
/// A file of hashes that cannot be read, or does not agree with its own checksum, counts as empty, and one that cannot be written stays as it is: both cost time only.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_models::{FloatFormat, Model, Origin, checkpoint::KnownHashes};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
/// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
/// let known = KnownHashes::in_file("hashes.json");
/// assert_eq!(model.weight_hash_known(&known)?, model.weight_hash()?);
/// # Ok::<(), inject_models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct KnownHashes {
    path: PathBuf,
    smallest: u64,
    /// One thread at a time changes the file.
    writing: Mutex<()>,
}

/// The contents of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    files: Files,
    /// The SHA-256 of the JSON of `files`. Without it, a flipped bit would be another hash of the weights.
    sha256: String,
}

/// The hashes, by the path of the hashed file.
type Files = BTreeMap<PathBuf, Known>;

/// A file that was hashed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stamp: Stamp,
    sha256: String,
}

/// The file system's metadata of a file, which change with its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    /// Time of the last modification, in nanoseconds since 1970.
    modified: u64,
    /// The device, the number of the file on it, and the time of its last change in nanoseconds after 1970.
    unix: Option<[u64; 3]>,
}

/// The resolution of the times of a file system, at the coarsest.
const TICK: Duration = Duration::from_secs(3);

impl KnownHashes {
    /// The smallest file that is remembered, in bytes.
    const SMALLEST: u64 = 256 << 20;

    /// Keeps the hashes in a file, which need not exist yet. Its folder is made with it.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        KnownHashes { path: path.into(), smallest: Self::SMALLEST, writing: Mutex::new(()) }
    }

    /// The SHA-256 of a file, in hexadecimal.
    pub(super) fn file_hash(&self, path: &Path) -> Result<String, ModelError> {
        let io_error = |source| ModelError::Read { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(io_error)?;
        let stamp = Stamp::of(&fs::metadata(&path).map_err(io_error)?);
        let Some(stamp) = stamp.filter(|stamp| stamp.size >= self.smallest) else { return file_hash(&path) };
        match self.files().remove(&path) {
            Some(known) if known.stamp == stamp => return Ok(known.sha256),
            Some(_) | None => {}
        }
        let started = SystemTime::now();
        let sha256 = file_hash(&path)?;
        let after = fs::metadata(&path).ok().and_then(|metadata| Stamp::of(&metadata));
        if after.as_ref() == Some(&stamp) && stamp.is_older_than(started) {
            self.remember(path, Known { stamp, sha256: sha256.clone() });
        }
        Ok(sha256)
    }

    fn files(&self) -> Files {
        let text = read_text(&self.path).unwrap_or_default();
        let Contents { files, sha256 } = serde_json::from_str(&text).unwrap_or_default();
        match checksum(&files).is_ok_and(|found| found == sha256) {
            true => files,
            false => Files::new(),
        }
    }

    /// Adds a hash, and removes those of files that no longer exist.
    fn remember(&self, path: PathBuf, known: Known) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut files = self.files();
        files.retain(|path, _| path.exists());
        files.insert(path, known);
        let contents = checksum(&files).map(|sha256| Contents { files, sha256 });
        let Ok(text) = contents.and_then(|contents| serde_json::to_vec_pretty(&contents)) else { return };
        let written = || {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            whole_file::replace(&self.path, &text)
        };
        // Without it, the file is hashed again.
        let _: std::io::Result<()> = written();
    }
}

/// The SHA-256 of the JSON of hashes, in hexadecimal.
fn checksum(files: &Files) -> serde_json::Result<String> {
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(files)?)))
}

impl Stamp {
    /// Returns nothing if the system does not report the time of modification.
    fn of(metadata: &Metadata) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let modified = u64::try_from(modified.as_nanos()).ok()?;
        Some(Stamp { size: metadata.len(), modified, unix: in_unix(metadata) })
    }

    /// Whether the file was last changed so long before a time that a later change would show.
    fn is_older_than(&self, time: SystemTime) -> bool {
        let changed = self.unix.map_or(self.modified, |[_, _, changed]| changed.max(self.modified));
        UNIX_EPOCH + Duration::from_nanos(changed) + TICK < time
    }
}

#[cfg(unix)]
fn in_unix(metadata: &Metadata) -> Option<[u64; 3]> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).ok()?;
    Some([metadata.dev(), metadata.ino(), seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?])
}

#[cfg(not(unix))]
fn in_unix(_: &Metadata) -> Option<[u64; 3]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file of three seconds ago and more, and hashes that remember small files too.
    fn remembered() -> (tempfile::TempDir, PathBuf, KnownHashes) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        fs::write(&file, "abc").unwrap();
        let mut known = KnownHashes::in_file(folder.path().join("cache/hashes.json"));
        known.smallest = 1;
        // The time of the last change cannot be set, so the file's is that of the test.
        let stamp = Stamp::of(&fs::metadata(&file).unwrap()).unwrap();
        let path = fs::canonicalize(&file).unwrap();
        known.remember(path, Known { stamp, sha256: "remembered".to_owned() });
        (folder, file, known)
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let (_folder, file, known) = remembered();
        assert_eq!(known.file_hash(&file).unwrap(), "remembered");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_the_same_size_and_time_with_other_contents_is_noticed() {
        let (_folder, file, known) = remembered();
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let stamp = || Stamp::of(&fs::metadata(&file).unwrap()).unwrap();
        let before = stamp();
        // The clock of a file system stands still for some milliseconds at a time, and no file can be given another time of change.
        while stamp() == before {
            fs::write(&file, "abd").unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        }
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), modified);
        assert_eq!(known.file_hash(&file).unwrap(), file_hash(&file).unwrap());
    }

    #[test]
    fn a_file_that_was_just_written_is_not_remembered() {
        let (_folder, file, known) = remembered();
        fs::write(&file, "abcd").unwrap();
        let path = fs::canonicalize(&file).unwrap();
        let before = known.files()[&path].sha256.clone();
        assert_eq!(known.file_hash(&file).unwrap(), file_hash(&file).unwrap());
        assert_eq!(known.files()[&path].sha256, before);
    }

    #[test]
    fn a_damaged_memory_counts_as_empty() {
        let (_folder, file, known) = remembered();
        fs::write(&known.path, "{").unwrap();
        assert_eq!(known.file_hash(&file).unwrap(), file_hash(&file).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_a_device_in_place_of_the_memory_counts_as_empty() {
        let (folder, file, known) = remembered();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for other in [&pipe, Path::new("/dev/zero")] {
            fs::remove_file(&known.path).unwrap();
            std::os::unix::fs::symlink(other, &known.path).unwrap();
            assert_eq!(known.file_hash(&file).unwrap(), file_hash(&file).unwrap());
        }
    }

    #[test]
    fn no_flipped_bit_of_the_memory_is_another_hash() {
        let (_folder, file, known) = remembered();
        let (right, memory) = (file_hash(&file).unwrap(), fs::read(&known.path).unwrap());
        let mut forgotten = 0;
        for (place, bit) in (0..memory.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut damaged = memory.clone();
            damaged[place] ^= 1 << bit;
            fs::write(&known.path, damaged).unwrap();
            let found = known.file_hash(&file).unwrap();
            assert!(found == "remembered" || found == right, "bit {bit} of byte {place}: {found}");
            forgotten += usize::from(found == right);
        }
        assert!(forgotten > 4 * memory.len(), "{forgotten}");
    }

    #[test]
    fn small_files_are_hashed_each_time() {
        let (_folder, file, mut known) = remembered();
        known.smallest = 4;
        assert_eq!(known.file_hash(&file).unwrap(), file_hash(&file).unwrap());
    }

    #[test]
    fn a_file_is_older_only_after_the_coarsest_tick() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let stamp = Stamp { size: 1, modified: 10_000_000_000, unix: Some([1, 2, 12_000_000_000]) };
        assert!(!stamp.is_older_than(at(15)));
        assert!(stamp.is_older_than(at(16)));
    }
}
