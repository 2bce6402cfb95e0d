//! Writing a store, block by block, through any number of interruptions.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use inject_models::Tap;

use super::{
    block::Block,
    dtype::Unstorable,
    durable,
    error::StoreError,
    file::FileSpec,
    journal::{self, Journal},
    lengths::PromptLengths,
    lock::{self, WriterLock},
    manifest::Manifest,
    noise::NoiseFloors,
    prompt_ids,
    reader::Store,
    row_ids,
    spec::StoreSpec,
    tap_file::{self, TapFile},
};

/// How many numbers are converted at a time.
const CHUNK: usize = 1 << 18;

/// What a folder turned out to hold.
#[derive(Debug)]
pub enum Opened {
    /// Nothing yet, or some of the job: the rest is to be written.
    Writing(StoreWriter),
    /// All of the job: there is nothing left to do.
    Complete(Store),
}

/// Writes the store of one job.
///
/// The writer may be dropped, or its process killed, at any moment: opening it again goes on after the last
/// block whose [`append`](StoreWriter::append) returned. It remembers 4 bytes per prompt and converts one
/// block in small pieces, so its memory does not grow with what is stored.
#[derive(Debug)]
pub struct StoreWriter {
    dir: PathBuf,
    journal: Journal,
    lengths: PromptLengths,
    taps: Vec<TapFile>,
    /// The converted numbers of one chunk.
    bytes: Vec<u8>,
    _lock: WriterLock,
}

impl StoreWriter {
    /// Begins a store in a folder that is empty or does not exist, or goes on with one that was begun there.
    ///
    /// # Errors
    ///
    /// - What no store can hold: [`StoreError::InvalidSpec`], [`StoreError::NoPrompts`],
    ///   [`StoreError::EmptyPrompt`], [`StoreError::TokenTooLarge`], [`StoreError::TooLarge`].
    /// - [`StoreError::AlienFolder`] and [`StoreError::DifferentJob`] when the folder holds something else,
    ///   [`StoreError::Busy`] when another process is writing there. Nothing in the folder is changed then.
    /// - A [`StoreError`] that names the file when something in the folder is damaged or cannot be written.
    pub fn open(dir: impl AsRef<Path>, spec: StoreSpec, prompts: &[Vec<u32>]) -> Result<Opened, StoreError> {
        let dir = dir.as_ref();
        let lengths = PromptLengths::of(prompts, spec.positions)?;
        let job = Manifest::of(spec, &lengths, prompt_ids::sha256(prompts))?;
        if let Some(store) = finished(dir, &job)? {
            return Ok(Opened::Complete(store));
        }
        refuse_alien(dir)?;
        durable::create_folder(dir)?;
        let lock = WriterLock::acquire(dir)?;
        // Whoever had the lock until now may have finished.
        if let Some(store) = finished(dir, &job)? {
            return Ok(Opened::Complete(store));
        }
        let journal = match Journal::read(dir)? {
            Some(journal) => {
                journal.check(dir, &job, &lengths)?;
                journal
            }
            None => {
                let journal = Journal::begin(job);
                journal.write(dir)?;
                journal
            }
        };
        let taps = match journal.prompts_done {
            0 => create_files(dir, &journal.job, prompts)?,
            done if done < lengths.prompts() => reopen_files(dir, &journal.job)?,
            // Some files may have their final names already.
            _ => Vec::new(),
        };
        let dir = dir.to_owned();
        Ok(Opened::Writing(StoreWriter { dir, journal, lengths, taps, bytes: Vec::new(), _lock: lock }))
    }

    /// The first prompt that is not on disk yet; the number of prompts when all are.
    pub fn next_prompt(&self) -> usize {
        self.journal.prompts_done
    }

    /// How many rows the next `prompts` prompts have.
    ///
    /// # Panics
    ///
    /// When fewer are left.
    pub fn rows_of_next(&self, prompts: usize) -> usize {
        self.lengths.rows(self.next_prompt()..self.next_prompt() + prompts)
    }

    /// Writes the states of the next prompts. When it returns they are durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlockTooLong`], [`StoreError::BlockTaps`] and [`StoreError::BlockSize`] when the block is
    /// not that of the next prompts; [`StoreError::NotFinite`] and [`StoreError::Overflow`] for states that
    /// cannot be stored; [`StoreError::Io`]. The store is then as if the block had not been given, and
    /// another may be.
    pub fn append(&mut self, block: &Block<'_>) -> Result<(), StoreError> {
        let left = self.lengths.prompts() - self.next_prompt();
        if block.prompts > left {
            return Err(StoreError::BlockTooLong { found: block.prompts, left });
        }
        let rows = self.rows_of_next(block.prompts);
        let spec = &self.journal.job.spec;
        let states = block.in_order_of(&spec.taps, rows, spec.d_model)?;
        if block.prompts == 0 {
            return Ok(());
        }
        for (index, values) in states.into_iter().enumerate() {
            self.write(index, values)?;
        }
        for tap in &self.taps {
            tap.sync()?;
        }
        let journal = Journal {
            job: self.journal.job.clone(),
            prompts_done: self.journal.prompts_done + block.prompts,
            rows_done: self.journal.rows_done + rows,
        };
        journal.write(&self.dir)?;
        self.journal = journal;
        Ok(())
    }

    /// Makes a finished store of what was written, and opens it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unfinished`] when prompts are missing, [`StoreError::NoiseFloor`] when the floors are not
    /// those of the store's taps, and what [`Store::open`] finds wrong. The folder can then still be opened
    /// by [`StoreWriter::open`].
    pub fn finish(self, noise: Option<NoiseFloors>) -> Result<Store, StoreError> {
        let dir = &self.dir;
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
            // An interrupted `finish` has renamed some of them.
            if partial.exists() {
                durable::rename(&partial, &path)?;
            }
        }
        durable::sync_folder(dir)?;
        let store = Store::check(dir, Manifest { noise, ..job })?;
        store.manifest().write(dir)?;
        remove_leftovers(dir)?;
        Ok(store)
    }

    /// Writes the states of one tap behind those that are durable.
    fn write(&mut self, index: usize, values: &[f32]) -> Result<(), StoreError> {
        let spec = &self.journal.job.spec;
        let file = &mut self.taps[index];
        file.seek(self.journal.rows_done)?;
        for (chunk, values) in values.chunks(CHUNK).enumerate() {
            if let Err(Unstorable { index: in_chunk, value }) = spec.dtype.encode(values, &mut self.bytes) {
                let row = (chunk * CHUNK + in_chunk) / spec.d_model;
                return Err(self.unstorable(spec.taps[index], row, value));
            }
            file.write(&self.bytes)?;
        }
        Ok(())
    }

    /// The error for a value in a row of the next block.
    fn unstorable(&self, tap: Tap, row: usize, found: f32) -> StoreError {
        let (prompt, position) = self.lengths.locate(self.next_prompt(), row);
        match found.is_finite() {
            true => {
                let dtype = self.journal.job.spec.dtype;
                StoreError::Overflow { prompt, position, tap, found, dtype }
            }
            false => StoreError::NotFinite { prompt, position, tap, found },
        }
    }
}

/// The store of the folder, if it is finished.
///
/// # Errors
///
/// [`StoreError::DifferentJob`] when it is the store of another job.
fn finished(dir: &Path, job: &Manifest) -> Result<Option<Store>, StoreError> {
    let Some(manifest) = Manifest::read(dir)? else {
        return Ok(None);
    };
    if let Some(difference) = job.difference_of_content(&manifest) {
        return Err(difference.in_folder(dir));
    }
    let store = Store::check(dir, manifest)?;
    remove_leftovers(dir)?;
    Ok(Some(store))
}

/// Removes what only an unfinished store needs.
fn remove_leftovers(dir: &Path) -> Result<(), StoreError> {
    Journal::remove(dir)?;
    WriterLock::remove(dir)?;
    durable::sync_folder(dir)
}

/// Refuses a folder that holds anything, unless it holds the journal of a store.
fn refuse_alien(dir: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StoreError::io("read", dir))?,
    };
    if Journal::read(dir)?.is_some() {
        return Ok(());
    }
    // A run that was killed at its very beginning leaves only these.
    let ours = [lock::FILE.into(), durable::partial(journal::FILE.as_ref()).into_os_string()];
    for entry in entries {
        let name = entry.map_err(StoreError::io("read", dir))?.file_name();
        if !ours.contains(&name) {
            let found = name.to_string_lossy().into_owned();
            return Err(StoreError::AlienFolder { path: dir.to_owned(), found });
        }
    }
    Ok(())
}

/// Makes every file of an unfinished store anew.
fn create_files(dir: &Path, job: &Manifest, prompts: &[Vec<u32>]) -> Result<Vec<TapFile>, StoreError> {
    let spec = FileSpec::prompts(job);
    prompt_ids::write(&durable::partial(&spec.path(dir)), &spec, prompts)?;
    let spec = FileSpec::rows(job);
    row_ids::write(&durable::partial(&spec.path(dir)), &spec, prompts, job.spec.positions)?;
    let taps = job.spec.taps.iter().map(|&tap| TapFile::create(dir, job, tap)).collect();
    durable::sync_folder(dir)?;
    taps
}

/// Goes on with the files of an unfinished store.
fn reopen_files(dir: &Path, job: &Manifest) -> Result<Vec<TapFile>, StoreError> {
    for spec in [FileSpec::prompts(job), FileSpec::rows(job)] {
        tap_file::check(&durable::partial(&spec.path(dir)), &spec)?;
    }
    job.spec.taps.iter().map(|&tap| TapFile::reopen(dir, job, tap)).collect()
}
