//! The store that a process searches, opened once.

use std::sync::{Arc, Mutex, PoisonError};

use inject_collisions::states::store::Store;

use crate::{descriptor::TileDescriptor, error::TileError};

/// The store of the last tile. Its states are compared with their checksums once, and not again for every tile.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    last: Mutex<Option<Arc<Store>>>,
}

impl Stores {
    /// Returns the store of a tile.
    ///
    /// # Errors
    ///
    /// [`TileError::Store`] if it cannot be opened, and [`TileError::OtherStore`] if it is not that of the job.
    pub(crate) fn open(&self, tile: &TileDescriptor) -> Result<Arc<Store>, TileError> {
        let is_of = |store: &Store| store.manifest().without_noise() == tile.manifest;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = last.as_ref().filter(|store| store.dir() == tile.store && is_of(store)) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Store::open(&tile.store)?);
        if !is_of(&store) {
            let as_text = |manifest| serde_json::to_string(manifest).unwrap_or_default();
            return Err(TileError::OtherStore {
                path: tile.store.clone(),
                found: as_text(&store.manifest().without_noise()),
                expected: as_text(&tile.manifest),
            });
        }
        *last = Some(Arc::clone(&store));
        Ok(store)
    }
}
