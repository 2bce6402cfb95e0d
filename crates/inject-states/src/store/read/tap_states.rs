//! The states at one tap of a finished store.

use std::{ops::Range, path::Path};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use inject_models::{FloatFormat, Tap};
use ndarray::Array2;

use super::mapped::Mapped;
use crate::store::{
    checksums::{self, BlockHasher},
    error::StoreError,
    layout::FileSpec,
    manifest::Manifest,
};

/// The states at one tap, read in place from disk.
#[derive(Debug)]
pub struct TapStates {
    tap: Tap,
    dtype: FloatFormat,
    rows: usize,
    d_model: usize,
    mapped: Mapped,
}

impl TapStates {
    pub(crate) fn open(dir: &Path, manifest: &Manifest, tap: Tap) -> Result<Self, StoreError> {
        let mapped = Mapped::open(dir, &FileSpec::tap(manifest, tap))?;
        let (dtype, d_model) = (manifest.spec.dtype, manifest.spec.d_model);
        Ok(TapStates { tap, dtype, rows: manifest.row_count, d_model, mapped })
    }

    /// Computes the checksums of the blocks on disk.
    ///
    /// The file is read with ordinary reads instead of through the map, so that the memory of the process does not grow.
    pub(crate) fn sums(&self, manifest: &Manifest) -> Result<Vec<u64>, StoreError> {
        let path = self.mapped.path();
        let mut hasher = BlockHasher::new(checksums::block_rows(manifest) * checksums::row_bytes(manifest));
        hasher
            .update_from(path, self.mapped.begin(0) as u64, self.mapped.bytes(0).len() as u64)
            .map_err(StoreError::io("read", path))?;
        Ok(hasher.finish())
    }

    /// Compares the states on disk with the checksums of their blocks.
    pub(crate) fn verify(&self, manifest: &Manifest, sums: &[u64]) -> Result<(), StoreError> {
        let (path, block_rows) = (self.mapped.path(), checksums::block_rows(manifest));
        match self.sums(manifest)?.iter().zip(sums).position(|(found, expected)| found != expected) {
            None => Ok(()),
            Some(block) => Err(StoreError::DamagedBlock {
                path: path.to_owned(),
                tap: self.tap,
                first_row: block * block_rows,
                last_row: ((block + 1) * block_rows).min(self.rows) - 1,
            }),
        }
    }

    /// Returns the tap at which the states were read.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// Returns the format of the numbers on disk.
    pub fn dtype(&self) -> FloatFormat {
        self.dtype
    }

    /// Returns the number of states.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the width of a state.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Releases the memory pages that reading these states in place has loaded. This is useful to a process that reads many taps.
    /// Later reads load them again from disk or from the system's cache.
    pub fn release(&self) {
        self.mapped.release();
    }

    /// Copies one state into `state`.
    ///
    /// # Shapes
    ///
    /// `state`: `[d_model]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row, or `state` has another length.
    pub fn row_f32(&self, row: usize, state: &mut [f32]) {
        self.rows_f32(row..row + 1, state);
    }

    /// Copies a range of states into `states`.
    ///
    /// # Shapes
    ///
    /// `states`: `[row, d_model]`, row by row.
    ///
    /// # Panics
    ///
    /// Panics if there are no such rows, or `states` has another length.
    pub fn rows_f32(&self, rows: Range<usize>, states: &mut [f32]) {
        let values = rows.start * self.d_model..rows.end * self.d_model;
        match self.dtype {
            FloatFormat::F32 => states.copy_from_slice(&self.mapped.elements::<f32>(0)[values]),
            FloatFormat::F16 => self.mapped.elements::<f16>(0)[values].convert_to_f32_slice(states),
            FloatFormat::Bf16 => self.mapped.elements::<bf16>(0)[values].convert_to_f32_slice(states),
            // The manifest was checked to have one of these three formats.
            other => unreachable!("a store in {other}"),
        }
    }

    /// Copies a range of states into an array, such as those of one prompt ([`Store::rows_of`](crate::store::Store::rows_of)).
    ///
    /// # Shapes
    ///
    /// `[row, d_model]`.
    ///
    /// # Panics
    ///
    /// Panics if there are no such rows.
    pub fn rows_to_array(&self, rows: Range<usize>) -> Array2<f32> {
        let mut states = Array2::zeros((rows.len(), self.d_model));
        self.rows_f32(rows, states.as_slice_mut().expect("a new array is row-major"));
        states
    }

    /// Copies all states into an array of f32, whatever their format on disk.
    ///
    /// # Shapes
    ///
    /// `[row, d_model]`.
    pub fn to_array(&self) -> Array2<f32> {
        self.rows_to_array(0..self.rows)
    }

    /// Returns all states without copying them, if their format is F32.
    ///
    /// # Shapes
    ///
    /// `[row, d_model]`, row by row.
    pub fn as_f32(&self) -> Option<&[f32]> {
        (self.dtype == FloatFormat::F32).then(|| self.mapped.elements(0))
    }
}
