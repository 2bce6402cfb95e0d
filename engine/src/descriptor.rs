//! A tile of the pair search as a row of a table.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use inject_collisions::{
    ClosestPairs, Metric, PairTile, SearchOptions,
    models::{Tap, silent},
    states::store::{Manifest, Store},
};

use crate::{error::TileError, stores::Stores};

/// The question about the pairs of a tile.
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
}

/// A tile of the pair search over a store, with all that a process needs to search it.
///
/// It travels as JSON. Every executor must find the store at the same path.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TileDescriptor {
    /// The folder of the store.
    pub store: PathBuf,
    /// The description of the store, without noise floors. A store with another description is refused.
    pub manifest: Manifest,
    /// The tap and the two bands of rows.
    pub tile: PairTile,
    /// The question about their pairs.
    pub options: PairOptions,
}

impl TileDescriptor {
    /// Lists the tiles of a store at each tap, for rows in so many bands: `bands (bands + 1) / 2` tiles a tap. Without taps, lists
    /// those of every tap of the store.
    ///
    /// # Errors
    ///
    /// [`TileError::Store`] if the store cannot be opened or lacks a tap.
    pub fn of_store(
        store: &Path,
        taps: &[Tap],
        bands: NonZeroUsize,
        options: PairOptions,
    ) -> Result<Vec<Self>, TileError> {
        let opened = Store::open_unverified(store)?;
        let folder = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
        let manifest = opened.manifest().without_noise();
        let taps = if taps.is_empty() { &manifest.spec.taps } else { taps };
        taps.iter().try_for_each(|&tap| opened.tap(tap).map(|_| ()))?;
        let tiles = taps.iter().flat_map(|&tap| PairTile::triangle(tap, bands.get()));
        let descriptor =
            |tile| TileDescriptor { store: folder.clone(), manifest: manifest.clone(), tile, options };
        Ok(tiles.map(descriptor).collect())
    }

    /// Searches the tile in this process.
    ///
    /// # Errors
    ///
    /// [`TileError`] if the store cannot be read or is not that of the job, or the search fails.
    pub(crate) fn search(&self, stores: &Stores) -> Result<ClosestPairs, TileError> {
        let store = stores.open(self)?;
        let PairOptions { closest, metric, memory_budget } = self.options;
        let options = SearchOptions::default().with_metric(metric).with_memory_budget(memory_budget);
        let found = self.tile.closest_pairs(&store, closest.get(), options, &Device::flex(), &mut silent);
        found.map_err(|source| TileError::Search {
            tile: self.tile,
            store: self.store.clone(),
            source: source.into(),
        })
    }
}
