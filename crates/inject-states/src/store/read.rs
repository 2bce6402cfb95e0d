//! Reads a finished store.

pub(crate) mod mapped;
pub(crate) mod tap_states;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use inject_models::Tap;

use self::tap_states::TapStates;
use super::{
    checksums::{self, Sums},
    error::StoreError,
    ids::{
        extent::PromptIter,
        prompts::PromptIds,
        rows::{RowIds, StoredRowIds},
    },
    manifest::{Manifest, positions::Positions},
    write::progress::Journal,
};
use crate::durable::Checksum;

/// A finished store. It is checked when it is opened, and then read in place.
///
/// Opening maps every file and reads the ids, but not the states, so it is fast for stores of any size. The states of a tap are
/// compared with their checksums when [`Store::tap`] first returns them. No other program may truncate or rewrite the files while
/// the store is open. This crate never changes a finished store. A store on a read-only medium can be opened too.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    manifest: Manifest,
    prompts: PromptIds,
    rows: StoredRowIds,
    taps: Vec<TapStates>,
    /// The checksums of the states, if they are to be compared.
    sums: Option<Sums>,
    /// Set for each tap whose states agreed with their checksums.
    verified: Vec<OnceLock<()>>,
}

impl Store {
    /// Opens a finished store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if there is no folder, [`StoreError::Unfinished`] if the writing of the store was interrupted, and
    /// [`StoreError::NotAStore`] if there is no manifest. If anything contradicts the manifest, a [`StoreError`] that names the file, the value found and the value
    /// expected.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref();
        let mut store = Store::open_unverified(dir)?;
        store.sums = Some(checksums::read(dir, &store.manifest)?);
        Ok(store)
    }

    /// Opens a finished store like [`Store::open`], but never compares states with their checksums.
    ///
    /// # Errors
    ///
    /// The errors of [`Store::open`].
    pub fn open_unverified(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref();
        if let Some(manifest) = Manifest::read(dir)? {
            return Store::check(dir, manifest);
        }
        let path = dir.to_owned();
        match Journal::read(dir)? {
            Some(Journal { job, prompts_done, .. }) => {
                Err(StoreError::Unfinished { path, prompts_done, prompts: job.prompt_count })
            }
            None => {
                fs::metadata(dir).map_err(StoreError::io("open", dir))?;
                Err(StoreError::NotAStore { path })
            }
        }
    }

    /// Checks every file of a folder, except the states, against a manifest. The manifest need not be on disk yet.
    pub(crate) fn check(dir: &Path, manifest: Manifest) -> Result<Self, StoreError> {
        let prompts = PromptIds::open(dir, &manifest)?;
        let rows = StoredRowIds::open(dir, &manifest, &prompts)?;
        let taps = manifest
            .spec
            .taps
            .iter()
            .map(|&tap| TapStates::open(dir, &manifest, tap))
            .collect::<Result<Vec<_>, _>>()?;
        let verified = vec![OnceLock::new(); taps.len()];
        Ok(Store { dir: dir.to_owned(), manifest, prompts, rows, taps, sums: None, verified })
    }

    /// Returns the path of the store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the description of the store.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the prompt, position and token of each row of the taps.
    pub fn rows(&self) -> RowIds<'_> {
        self.rows.rows()
    }

    /// Returns the range of rows that belong to one prompt.
    ///
    /// # Panics
    ///
    /// Panics if there is no such prompt.
    pub fn rows_of(&self, prompt: usize) -> Range<usize> {
        let tokens = self.prompts.tokens_of(prompt..prompt + 1);
        match self.manifest.spec.positions {
            Positions::Last => prompt..prompt + 1,
            Positions::All => tokens,
        }
    }

    /// Returns all token ids of one prompt, regardless of which positions are stored.
    ///
    /// # Panics
    ///
    /// Panics if there is no such prompt.
    pub fn prompt(&self, prompt: usize) -> &[u32] {
        self.prompts.prompt(prompt)
    }

    /// Returns the token ids of every prompt.
    pub fn prompts(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.manifest.prompt_count).map(|prompt| self.prompt(prompt))
    }

    /// As [`Store::prompts`]. The memory pages of those that were passed are released.
    pub(crate) fn prompts_in_passing(&self) -> impl PromptIter<'_> {
        self.prompts.in_passing()
    }

    /// Releases the memory pages of the prompts and states that were read. Later reads load them again.
    pub(crate) fn release(&self) {
        self.prompts.release();
        self.taps.iter().for_each(TapStates::release);
    }

    /// Returns the states at every tap, in the order of computation, without comparing them with their checksums.
    pub fn taps(&self) -> &[TapStates] {
        &self.taps
    }

    /// Returns a fingerprint of the states at one tap: the [`Checksum`] of the checksums of their blocks, in hexadecimal. After
    /// [`Store::open_unverified`], they are computed from the states.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchTap`], and [`StoreError::Io`] if the states cannot be read.
    pub fn fingerprint(&self, tap: Tap) -> Result<String, StoreError> {
        let index = self.index_of(tap)?;
        let sums = match &self.sums {
            Some(sums) => sums[index].clone(),
            None => self.taps[index].sums(&self.manifest)?,
        };
        let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        Ok(Checksum::of(&bytes).to_string())
    }

    /// Returns the states at one tap. On the first call for a tap, all its states are read and compared with their checksums.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchTap`] if the store does not contain the tap, and [`StoreError::DamagedBlock`] if states changed after
    /// they were written.
    pub fn tap(&self, tap: Tap) -> Result<&TapStates, StoreError> {
        let index = self.index_of(tap)?;
        if let (Some(sums), None) = (&self.sums, self.verified[index].get()) {
            self.taps[index].verify(&self.manifest, &sums[index])?;
            let _ = self.verified[index].set(());
        }
        Ok(&self.taps[index])
    }

    fn index_of(&self, tap: Tap) -> Result<usize, StoreError> {
        let index = self.taps.iter().position(|states| states.tap() == tap);
        index.ok_or_else(|| StoreError::NoSuchTap {
            path: self.dir.clone(),
            tap,
            stored: self.manifest.spec.taps.clone(),
        })
    }

    /// Compares the states at every tap with their checksums. Succeeds after [`Store::open_unverified`].
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedBlock`] with the rows of the first damaged block.
    pub fn verify(&self) -> Result<(), StoreError> {
        let Some(sums) = &self.sums else { return Ok(()) };
        let mut first: Option<(usize, StoreError)> = None;
        for (states, sums) in self.taps.iter().zip(sums) {
            match states.verify(&self.manifest, sums) {
                Err(StoreError::DamagedBlock { path, tap, first_row, last_row }) => {
                    if first.as_ref().is_none_or(|(row, _)| first_row < *row) {
                        first =
                            Some((first_row, StoreError::DamagedBlock { path, tap, first_row, last_row }));
                    }
                }
                other => other?,
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}
