//! Resumes an unfinished store, or a finished one that was damaged.

use std::path::{Path, PathBuf};

use super::progress::Journal;
use crate::{
    durable,
    store::{
        checksums::{self, BlockHasher},
        error::StoreError,
        ids::extent::PromptIter,
        layout::FileSpec,
        manifest::Manifest,
        read::Store,
    },
};

/// Hashes the states that the journal records as durable. If a block of them is damaged, the journal is shortened to end before
/// the first prompt of that block.
///
/// # Errors
///
/// [`StoreError::Io`].
pub(super) fn verify<'a>(
    dir: &Path,
    journal: &mut Journal,
    prompts: impl PromptIter<'a>,
) -> Result<Vec<BlockHasher>, StoreError> {
    let recorded = checksums::read_in_progress(dir, &journal.job);
    let mut hashers = hash(dir, &journal.job, journal.rows_done)?;
    let damaged = hashers.iter().zip(&recorded).filter_map(|(hasher, recorded)| {
        hasher.complete().iter().zip(recorded).position(|(found, expected)| found != expected)
    });
    if let Some(block) = damaged.min() {
        journal.go_back(prompts, block * checksums::block_rows(&journal.job));
        journal.write(dir)?;
        hashers = hash(dir, &journal.job, journal.rows_done)?;
    }
    let sums: Vec<&[u64]> = hashers.iter().map(BlockHasher::complete).collect();
    let path = dir.join(checksums::IN_PROGRESS);
    match sums[0].is_empty() {
        true => durable::remove(&path)?,
        false => durable::replace(&path, &checksums::to_text(&journal.job, &sums))?,
    }
    Ok(hashers)
}

fn hash(dir: &Path, job: &Manifest, rows: usize) -> Result<Vec<BlockHasher>, StoreError> {
    let mut hashers = checksums::hashers(job);
    for (hasher, &tap) in hashers.iter_mut().zip(&job.spec.taps) {
        let spec = FileSpec::tap(job, tap);
        let path = present(&spec, dir);
        let bytes = (rows * checksums::row_bytes(job)) as u64;
        hasher
            .update_from(&path, spec.header().len() as u64, bytes)
            .map_err(StoreError::io("read", &path))?;
    }
    Ok(hashers)
}

/// Returns the current path of a file: its final name if finishing was interrupted, otherwise that of a partial file.
pub(super) fn present(spec: &FileSpec, dir: &Path) -> PathBuf {
    let path = spec.path(dir);
    let partial = durable::partial(&path);
    if path.exists() && !partial.exists() { path } else { partial }
}

/// Marks a finished store as unfinished, because its states are damaged starting at a row.
///
/// # Errors
///
/// [`StoreError::Io`].
pub(super) fn reopen<'a>(
    dir: &Path,
    job: &Manifest,
    prompts: impl PromptIter<'a>,
    row: usize,
) -> Result<(), StoreError> {
    let mut journal = Journal::begin(job.clone());
    journal.go_back(prompts, row);
    journal.write(dir)?;
    Manifest::remove(dir)?;
    name_partial(dir, job)
}

/// Renames the files of an unfinished store that have their final names to those of partial files.
///
/// # Errors
///
/// [`StoreError::Io`].
pub(super) fn name_partial(dir: &Path, job: &Manifest) -> Result<(), StoreError> {
    for spec in FileSpec::all(job) {
        let path = spec.path(dir);
        if present(&spec, dir) == path {
            durable::rename(&path, &durable::partial(&path))?;
        }
    }
    Ok(durable::sync_folder(dir)?)
}

/// Returns the first row of the first damaged block of a store.
///
/// # Errors
///
/// [`StoreError`] if the states cannot be read.
pub(super) fn first_damaged_row(store: &Store) -> Result<Option<usize>, StoreError> {
    match store.verify() {
        Ok(()) => Ok(None),
        Err(StoreError::DamagedBlock { first_row, .. }) => Ok(Some(first_row)),
        Err(other) => Err(other),
    }
}
