//! A finished store.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use inject_models::Tap;

use super::{
    error::StoreError,
    journal::Journal,
    manifest::Manifest,
    positions::Positions,
    prompt_ids::PromptIds,
    row_ids::{RowIds, Rows},
    tap_states::TapStates,
};

/// A finished store, checked once as a whole and then read in place.
///
/// Opening maps every file and reads the ids, not the states: it is quick for any size. No other program may
/// truncate or rewrite the files while the store is open; this crate never changes a finished store.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    manifest: Manifest,
    prompts: PromptIds,
    rows: RowIds,
    taps: Vec<TapStates>,
}

impl Store {
    /// Opens a finished store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unfinished`] when its writing was interrupted, [`StoreError::NotAStore`] when there is no
    /// manifest, and a [`StoreError`] that names the file, what was found and what was expected when anything
    /// in it contradicts the manifest.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref();
        if let Some(manifest) = Manifest::read(dir)? {
            return Store::check(dir, manifest);
        }
        let path = dir.to_owned();
        match Journal::read(dir)? {
            Some(Journal { job, prompts_done, .. }) => {
                Err(StoreError::Unfinished { path, prompts_done, prompts: job.prompt_count })
            }
            None => Err(StoreError::NotAStore { path }),
        }
    }

    /// Checks every file of a folder against a manifest, which need not be on disk yet.
    pub(super) fn check(dir: &Path, manifest: Manifest) -> Result<Self, StoreError> {
        let prompts = PromptIds::open(dir, &manifest)?;
        let rows = RowIds::open(dir, &manifest, &prompts)?;
        let taps = manifest
            .spec
            .taps
            .iter()
            .map(|&tap| TapStates::open(dir, &manifest, tap))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Store { dir: dir.to_owned(), manifest, prompts, rows, taps })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the store holds and where it comes from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which prompt, position and token each row of the taps belongs to.
    pub fn rows(&self) -> Rows<'_> {
        self.rows.rows()
    }

    /// The rows of one prompt.
    ///
    /// # Panics
    ///
    /// When there is no such prompt.
    pub fn rows_of(&self, prompt: usize) -> Range<usize> {
        let offsets = &self.prompts.offsets()[prompt..prompt + 2];
        match self.manifest.spec.positions {
            Positions::Last => prompt..prompt + 1,
            Positions::All => offsets[0] as usize..offsets[1] as usize,
        }
    }

    /// The token ids of one prompt, whole, whichever of its positions are stored.
    ///
    /// # Panics
    ///
    /// When there is no such prompt.
    pub fn prompt(&self, prompt: usize) -> &[u32] {
        self.prompts.prompt(prompt)
    }

    /// The token ids of every prompt.
    pub fn prompts(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.manifest.prompt_count).map(|prompt| self.prompt(prompt))
    }

    /// The states at every tap, in the order of computation.
    pub fn taps(&self) -> &[TapStates] {
        &self.taps
    }

    /// The states at one tap.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchTap`] when the store does not hold it.
    pub fn tap(&self, tap: Tap) -> Result<&TapStates, StoreError> {
        self.taps.iter().find(|states| states.tap() == tap).ok_or_else(|| StoreError::NoSuchTap {
            path: self.dir.clone(),
            tap,
            stored: self.manifest.spec.taps.clone(),
        })
    }
}
