//! A piece of the study as a row of a table.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use inject_collisions::{
    Metric,
    models::silent,
    states::store::{Manifest, Store},
};
use inject_studies::{
    corpus::{CorpusPart, CorpusPiece},
    tap_distances::{NeighbourSearch, TapOptions},
};

use crate::{error::PieceError, stores::Stores};

/// The question about the pairs of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PairOptions {
    /// The number of closest pairs to keep.
    pub closest: NonZeroUsize,
    /// The metric in which distances are measured.
    pub metric: Metric,
    /// The memory for the search of a tile, except for the rows themselves.
    ///
    /// # Units
    ///
    /// Bytes.
    pub memory_budget: usize,
}

impl PairOptions {
    /// Creates options for the `closest` pairs in a metric, with a memory budget in bytes.
    pub const fn new(closest: NonZeroUsize, metric: Metric, memory_budget: usize) -> Self {
        PairOptions { closest, metric, memory_budget }
    }

    /// Returns the options of the study that asks this question.
    pub fn study(self) -> TapOptions {
        TapOptions::default()
            .with_metric(self.metric)
            .with_closest(self.closest)
            .with_nearest(NeighbourSearch::Skipped)
            .with_memory_budget(self.memory_budget)
    }
}

/// A piece of the study of a store, with all that a process needs to measure it.
///
/// It travels as JSON. Every executor must find the store at the same path.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PieceDescriptor {
    /// The folder of the store, as an absolute path.
    pub store: PathBuf,
    /// The description of the store, without noise floors. A store with another description is refused.
    pub manifest: Manifest,
    /// The piece of the study to measure.
    pub piece: CorpusPiece,
    /// The question about its pairs.
    pub options: PairOptions,
}

impl PieceDescriptor {
    /// Describes pieces of the study of a store.
    pub fn of_store(store: &Store, pieces: &[CorpusPiece], options: PairOptions) -> Vec<Self> {
        let folder = absolute(store.dir());
        let manifest = store.manifest().without_noise();
        let descriptor =
            |&piece| PieceDescriptor { store: folder.clone(), manifest: manifest.clone(), piece, options };
        pieces.iter().map(descriptor).collect()
    }

    /// Measures the piece in this process.
    ///
    /// # Errors
    ///
    /// [`PieceError`] if the store cannot be read or is not that of the job, or the measurement fails.
    pub(crate) fn measure(&self, stores: &Stores) -> Result<CorpusPart, PieceError> {
        let store = stores.open(self)?;
        let measured = self.piece.measure(&store, &self.options.study(), &Device::flex(), &mut silent);
        measured.map_err(|source| PieceError::Measure {
            piece: self.piece,
            store: self.store.clone(),
            source: source.into(),
        })
    }
}

/// The path from the root. A folder that the system cannot name keeps its name.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}
