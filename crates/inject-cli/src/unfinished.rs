//! Files that are kept together or not at all.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use inject_sipit::states::durable;

use crate::{options::OutputFolder, outcome::Failure};

/// Writes files that belong together into an empty folder. `write` gets the last of them, and writes the others into the folder before.
///
/// What a killed run left is overwritten: files that `may_remain`, beside the unfinished last one. After a failure nothing is left.
///
/// # Errors
///
/// The error of `write`, and [`Failure`] if the folder holds something else, or another process is writing to it.
pub(crate) fn write_together<T>(
    folder: &OutputFolder,
    names: &[&str],
    may_remain: impl Fn(&str) -> bool,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
    let Some(last) = paths.last().cloned() else { return Err(Failure::new("there is nothing to write")) };
    let remains = remains_of_a_killed_run(folder, &last, may_remain)?;
    // The lock of this file is that of the folder.
    durable::replace_with(&last, |out| {
        let unfinished = Unfinished(paths);
        remains.iter().try_for_each(|path| durable::remove(path))?;
        let written = write(out)?;
        unfinished.finished();
        Ok(written)
    })
}

/// Lists the files that a killed run left beside its unfinished last one.
///
/// # Errors
///
/// [`Failure`] for a folder with anything else in it.
fn remains_of_a_killed_run(
    folder: &OutputFolder,
    last: &Path,
    may_remain: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, Failure> {
    let begun = durable::partial(last);
    let was_begun = begun.exists();
    let mut remains = Vec::new();
    let path = folder.path();
    for entry in fs::read_dir(path).map_err(Failure::io("read the folder", path))? {
        let entry = entry.map_err(Failure::io("read the folder", path))?;
        let name = entry.file_name();
        let name_in_the_end = name.to_string_lossy();
        let name_in_the_end = name_in_the_end.strip_suffix(".partial").unwrap_or(&name_in_the_end);
        if was_begun && entry.path() != begun && may_remain(name_in_the_end) {
            remains.push(entry.path());
        } else if entry.path() != begun {
            return Err(folder.not_empty(&name));
        }
    }
    Ok(remains)
}

/// Files that are removed, finished or not, unless all of them are finished.
struct Unfinished(Vec<PathBuf>);

impl Unfinished {
    fn finished(mut self) {
        self.0.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            // The error that led here is the one to report.
            let _ = durable::remove(path);
            let _ = durable::remove(&durable::partial(path));
        }
    }
}
