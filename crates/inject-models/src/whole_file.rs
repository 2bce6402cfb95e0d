//! Small files that other processes see whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Writes a file under a name of its own in the same folder, and then renames it. A link in the place of the file is replaced, not followed.
///
/// Nothing waits for the disk, because the files are those of caches: what a loss of power takes is fetched or computed again.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let part = path.with_file_name(format!(".{}-{number}.tmp", process::id()));
    // A file of that name is another process's.
    let mut file = File::create_new(&part)?;
    let written = file.write_all(content).and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}
