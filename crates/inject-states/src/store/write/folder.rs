//! The files of a store that is being written.

use std::{fs, io, path::Path};

use super::{
    lock::{self, WriterLock},
    progress::{self, Journal},
    resume,
    tap_file::{self, TapFile},
};
use crate::{
    durable,
    store::{
        checksums,
        error::StoreError,
        ids::{self, extent::PromptIter},
        layout::FileSpec,
        manifest::Manifest,
        read::Store,
    },
};

/// Returns the store in the folder if it is finished, and the first row of the first damaged block if there is one.
///
/// # Errors
///
/// [`StoreError::DifferentJob`] if it is the store of another job.
pub(super) fn finished(dir: &Path, job: &Manifest) -> Result<Option<(Store, Option<usize>)>, StoreError> {
    let Some(manifest) = Manifest::read(dir)? else {
        return Ok(None);
    };
    if let Some(difference) = job.difference_of_content(&manifest) {
        return Err(StoreError::different_job(dir, difference));
    }
    let store = Store::open(dir)?;
    let damaged = match resume::first_damaged_row(&store)? {
        // A store is continued only by the version that wrote it.
        Some(_) if store.manifest().created_by != job.created_by => {
            store.verify()?;
            None
        }
        damaged => damaged,
    };
    if damaged.is_none() {
        // On a read-only medium the files cannot be removed, which is harmless.
        let _ = remove_leftovers(dir);
    }
    Ok(Some((store, damaged)))
}

/// Removes the files that only an unfinished store needs.
pub(super) fn remove_leftovers(dir: &Path) -> Result<(), StoreError> {
    Journal::remove(dir)?;
    durable::remove(&dir.join(checksums::IN_PROGRESS))?;
    WriterLock::remove(dir)?;
    Ok(durable::sync_folder(dir)?)
}

/// Refuses a folder that is not empty, unless it holds the journal of a store.
pub(super) fn refuse_alien(dir: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StoreError::io("read", dir))?,
    };
    if Journal::read(dir)?.is_some() {
        return Ok(());
    }
    // A run that was killed at its start leaves only these files.
    let ours = [lock::FILE.into(), durable::partial(progress::FILE.as_ref()).into_os_string()];
    for entry in entries {
        let name = entry.map_err(StoreError::io("read", dir))?.file_name();
        if !ours.contains(&name) {
            let found = name.to_string_lossy().into_owned();
            return Err(StoreError::AlienFolder { path: dir.to_owned(), found });
        }
    }
    Ok(())
}

/// Creates every file of an unfinished store.
pub(super) fn create_files<'a>(
    dir: &Path,
    job: &Manifest,
    prompts: impl PromptIter<'a>,
) -> Result<Vec<TapFile>, StoreError> {
    let spec = FileSpec::prompts(job);
    ids::prompts::write(&durable::partial(&spec.path(dir)), &spec, prompts.clone())?;
    let spec = FileSpec::rows(job);
    ids::rows::write(&durable::partial(&spec.path(dir)), &spec, prompts, job.spec.positions)?;
    let taps = job.spec.taps.iter().map(|&tap| TapFile::create(dir, job, tap)).collect();
    durable::sync_folder(dir)?;
    taps
}

/// Checks the files of an unfinished store, except its states.
pub(super) fn check_files(dir: &Path, job: &Manifest) -> Result<(), StoreError> {
    resume::name_partial(dir, job)?;
    FileSpec::all(job).iter().try_for_each(|spec| tap_file::check(&durable::partial(&spec.path(dir)), spec))
}

/// Opens the files of an unfinished store. The caller has checked them.
pub(super) fn reopen_files(dir: &Path, job: &Manifest) -> Result<Vec<TapFile>, StoreError> {
    resume::name_partial(dir, job)?;
    job.spec.taps.iter().map(|&tap| TapFile::reopen(dir, job, tap)).collect()
}
