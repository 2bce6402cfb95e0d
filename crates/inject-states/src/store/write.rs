//! Writes a store block by block. Writing can be interrupted and resumed any number of times.

pub(crate) mod block;
mod folder;
mod lock;
pub(crate) mod progress;
mod resume;
mod tap_file;

use std::{
    path::{Path, PathBuf},
    thread,
};

use inject_models::{Tap, format::Unrepresentable};

use self::{block::Block, lock::WriterLock, progress::Journal, tap_file::TapFile};
use super::{
    checksums::{self, BlockHasher},
    error::StoreError,
    ids::{
        self,
        extent::{self, Extent, PromptIter},
        prompts::PromptIds,
    },
    layout::FileSpec,
    manifest::{Manifest, noise::NoiseFloors, spec::StoreSpec},
    read::Store,
};
use crate::durable::{self, JsonLines};

/// The number of values converted at a time.
const CHUNK: usize = 1 << 18;

/// The state of a folder that was opened for writing.
#[derive(Debug)]
pub enum Opened {
    /// The folder contains nothing or a part of the job. The rest has to be written.
    Writing(StoreWriter),
    /// The folder contains the whole job.
    Complete(Store),
}

/// Writes the store of one job.
///
/// The writer may be dropped, or its process killed, at any time. When it is opened again, it continues after the last block
/// whose [`append`](StoreWriter::append) returned. It keeps 8 bytes for each mebibyte of states, and converts a block in small
/// pieces, so its memory grows very little with the size of the store.
#[derive(Debug)]
pub struct StoreWriter {
    dir: PathBuf,
    journal: Journal,
    /// The prompts, on disk.
    prompts: PromptIds,
    taps: Vec<TapFile>,
    /// The checksums of each tap, up to the last durable block.
    hashers: Vec<BlockHasher>,
    /// The file of checksums. `None` before the first is written.
    record: Option<JsonLines>,
    /// The converted numbers of one chunk.
    bytes: Vec<u8>,
    _lock: WriterLock,
}

impl StoreWriter {
    /// Begins a store in a folder that is empty or does not exist, or resumes one that was begun there.
    ///
    /// The states on disk are compared with their checksums. If a block is damaged, its prompts and all later ones have to be
    /// written again, even if the store is finished.
    ///
    /// # Errors
    ///
    /// - [`StoreError::InvalidSpec`], [`StoreError::NoPrompts`], [`StoreError::EmptyPrompt`],
    ///   [`StoreError::TokenTooLarge`] and [`StoreError::TooLarge`] for a job that no store can represent.
    /// - [`StoreError::AlienFolder`] and [`StoreError::DifferentJob`] if the folder contains something else, and
    ///   [`StoreError::Busy`] if another process is writing there. The folder is then left unchanged.
    /// - A [`StoreError`] that names the file if something in the folder is damaged or cannot be written.
    pub fn open(dir: impl AsRef<Path>, spec: StoreSpec, prompts: &[Vec<u32>]) -> Result<Opened, StoreError> {
        let prompts = prompts.iter().map(Vec::as_slice);
        let prompts_sha256 = ids::prompts::sha256(prompts.clone());
        StoreWriter::open_with(dir.as_ref(), spec, prompts, prompts_sha256)
    }

    /// As [`StoreWriter::open`]. The prompts need not be in memory, and their hash is known.
    pub(crate) fn open_with<'a>(
        dir: &Path,
        spec: StoreSpec,
        prompts: impl PromptIter<'a>,
        prompts_sha256: String,
    ) -> Result<Opened, StoreError> {
        let extent = Extent::of(prompts.clone(), spec.positions)?;
        let job = Manifest::of(spec, extent, prompts_sha256)?;
        match folder::finished(dir, &job)? {
            Some((store, None)) => return Ok(Opened::Complete(store)),
            Some((_, Some(_))) => {}
            None => folder::refuse_alien(dir)?,
        }
        durable::create_folder(dir)?;
        let lock = WriterLock::acquire(dir)?;
        // The process that held the lock until now may have finished the store.
        match folder::finished(dir, &job)? {
            Some((store, None)) => return Ok(Opened::Complete(store)),
            Some((_, Some(row))) => resume::reopen(dir, &job, prompts.clone(), row)?,
            None => {}
        }
        let mut journal = match Journal::read(dir)? {
            Some(journal) => {
                journal.check(dir, &job, prompts.clone())?;
                journal
            }
            None => {
                let journal = Journal::begin(job);
                journal.write(dir)?;
                journal
            }
        };
        let mut hashers = checksums::hashers(&journal.job);
        if journal.prompts_done > 0 {
            if journal.prompts_done < extent.prompts {
                folder::check_files(dir, &journal.job)?;
            }
            hashers = resume::verify(dir, &mut journal, prompts.clone())?;
        }
        let taps = match journal.prompts_done {
            0 => folder::create_files(dir, &journal.job, prompts)?,
            done if done < extent.prompts => folder::reopen_files(dir, &journal.job)?,
            // Some files may have their final names already.
            _ => Vec::new(),
        };
        let prompts = resume::present(&FileSpec::prompts(&journal.job), dir);
        let prompts = PromptIds::open_at(&prompts, &journal.job)?;
        let dir = dir.to_owned();
        let (record, bytes) = (None, Vec::new());
        Ok(Opened::Writing(StoreWriter { dir, journal, prompts, taps, hashers, record, bytes, _lock: lock }))
    }

    /// Returns the number of prompts on disk, which is the index of the next prompt.
    pub fn next_prompt(&self) -> usize {
        self.journal.prompts_done
    }

    /// Returns the number of rows of the next `prompts` prompts.
    ///
    /// # Panics
    ///
    /// Panics if fewer prompts are left.
    pub fn rows_of_next(&self, prompts: usize) -> usize {
        let positions = self.journal.job.spec.positions;
        self.prompts.rows(self.next_prompt()..self.next_prompt() + prompts, positions)
    }

    /// Writes the states of the next prompts. They are durable when this function returns.
    ///
    /// # Errors
    ///
    /// - [`StoreError::BlockTooLong`], [`StoreError::BlockTaps`] and [`StoreError::BlockSize`] if the block does not match the next
    ///   prompts.
    /// - [`StoreError::NotFinite`] and [`StoreError::Overflow`] for states that cannot be stored.
    /// - [`StoreError::Io`] if writing fails.
    ///
    /// After an error the store is unchanged, and another block may be appended.
    pub fn append(&mut self, block: &Block<'_>) -> Result<(), StoreError> {
        let left = self.journal.job.prompt_count - self.next_prompt();
        if block.prompts > left {
            return Err(StoreError::BlockTooLong { found: block.prompts, left });
        }
        let rows = self.rows_of_next(block.prompts);
        let spec = &self.journal.job.spec;
        let states = block.in_order_of(&spec.taps, rows, spec.d_model)?;
        if block.prompts == 0 {
            return Ok(());
        }
        let format = spec.dtype;
        let hashers = self.hashers.clone();
        let hash = || {
            let mut hashers = hashers.clone();
            hashers.iter_mut().zip(&states).for_each(|(hasher, values)| hasher.update_with(values, format));
            hashers
        };
        let hashers = thread::scope(|scope| {
            // Beside the writing and the wait for the disk, so that it takes next to no time of its own.
            let hashing = thread::Builder::new().spawn_scoped(scope, hash);
            self.write_all(&states)?;
            Ok::<_, StoreError>(match hashing {
                Ok(hashing) => hashing.join().expect("hashing does not panic"),
                // The system allows no further thread.
                Err(_) => hash(),
            })
        })?;
        let journal = Journal {
            job: self.journal.job.clone(),
            prompts_done: self.journal.prompts_done + block.prompts,
            rows_done: self.journal.rows_done + rows,
        };
        journal.write(&self.dir)?;
        self.journal = journal;
        // Checksums are recorded after the journal, so that there is none for states that do not count. A missing checksum is
        // computed again.
        let recorded = self.hashers[0].complete().len();
        self.hashers = hashers;
        self.prompts.release();
        self.record(recorded)
    }

    /// Writes the checksums of the complete blocks, starting with block `first`.
    fn record(&mut self, first: usize) -> Result<(), StoreError> {
        let sums: Vec<&[u64]> = self.hashers.iter().map(BlockHasher::complete).collect();
        if sums[0].len() == first {
            return Ok(());
        }
        let job = &self.journal.job;
        let file = match &mut self.record {
            Some(file) => file,
            none => none.insert(checksums::append_to(&self.dir, job)?),
        };
        checksums::append(file, &job.spec.taps, &sums, first)
    }

    /// Finishes the store and opens it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unfinished`] if prompts are missing, [`StoreError::NoiseFloor`] if the floors do not match the store's taps,
    /// and the errors of [`Store::open`]. The folder can still be opened by [`StoreWriter::open`] after an error.
    pub fn finish(self, noise: Option<NoiseFloors>) -> Result<Store, StoreError> {
        let dir = &self.dir;
        // A file that is mapped cannot be renamed on every system.
        drop(self.prompts);
        let Journal { job, prompts_done, .. } = self.journal;
        if prompts_done < job.prompt_count {
            let (path, prompts) = (dir.clone(), job.prompt_count);
            return Err(StoreError::Unfinished { path, prompts_done, prompts });
        }
        if let Some(noise) = &noise {
            noise.check(&job.spec.taps)?;
        }
        for file in FileSpec::all(&job) {
            let path = file.path(dir);
            let partial = durable::partial(&path);
            // An interrupted call may have renamed some files.
            if partial.exists() {
                durable::rename(&partial, &path)?;
            }
        }
        durable::sync_folder(dir)?;
        let sums: Vec<Vec<u64>> = self.hashers.into_iter().map(BlockHasher::finish).collect();
        let sums: Vec<&[u64]> = sums.iter().map(Vec::as_slice).collect();
        durable::replace(&dir.join(checksums::FILE), &checksums::to_text(&job, &sums))?;
        // The states need not be verified, because they were hashed as they were written.
        let store = Store::check(dir, Manifest { noise, ..job })?;
        store.manifest().write(dir)?;
        folder::remove_leftovers(dir)?;
        Ok(store)
    }

    /// Writes the states of each tap after the durable ones, and makes them durable.
    fn write_all(&mut self, states: &[&[f32]]) -> Result<(), StoreError> {
        states.iter().enumerate().try_for_each(|(index, values)| self.write(index, values))?;
        self.taps.iter().try_for_each(TapFile::sync)
    }

    /// Writes the states of one tap after the durable ones.
    fn write(&mut self, index: usize, values: &[f32]) -> Result<(), StoreError> {
        let spec = &self.journal.job.spec;
        let file = &mut self.taps[index];
        file.seek(self.journal.rows_done)?;
        for (chunk, values) in values.chunks(CHUNK).enumerate() {
            if let Err(Unrepresentable { index: in_chunk, value, .. }) =
                spec.dtype.encode(values, &mut self.bytes)
            {
                let row = (chunk * CHUNK + in_chunk) / spec.d_model;
                return Err(self.unstorable(spec.taps[index], row, value));
            }
            file.write(&self.bytes)?;
        }
        Ok(())
    }

    /// Returns the error for a value in a row of the next block.
    fn unstorable(&self, tap: Tap, row: usize, found: f32) -> StoreError {
        let positions = self.journal.job.spec.positions;
        let first = self.next_prompt();
        let next = (first..self.journal.job.prompt_count).map(|prompt| self.prompts.prompt(prompt));
        let (within, first_row) = extent::prompt_of_row(next, positions, row);
        let prompt = first + within;
        let position = positions.position(row - first_row, self.prompts.prompt(prompt).len());
        match found.is_finite() {
            true => {
                let dtype = self.journal.job.spec.dtype;
                StoreError::Overflow { prompt, position, tap, found, dtype }
            }
            false => StoreError::NotFinite { prompt, position, tap, found },
        }
    }
}
