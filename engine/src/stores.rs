//! The store that a process reads, opened once.

use std::sync::{Arc, Mutex, PoisonError};

use inject_collisions::states::store::Store;

use crate::{descriptor::PieceDescriptor, error::PieceError};

/// The store of the last piece. Its states are compared with their checksums once, and not again for every piece.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    last: Mutex<Option<Arc<Store>>>,
}

impl Stores {
    /// Returns the store of a piece.
    ///
    /// # Errors
    ///
    /// [`PieceError::Store`] if it cannot be opened, and [`PieceError::OtherStore`] if it is not that of the job.
    pub(crate) fn open(&self, piece: &PieceDescriptor) -> Result<Arc<Store>, PieceError> {
        let is_of = |store: &Store| store.manifest().without_noise() == piece.manifest;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = last.as_ref().filter(|store| store.dir() == piece.store && is_of(store)) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Store::open(&piece.store)?);
        if !is_of(&store) {
            let as_text = |manifest| serde_json::to_string(manifest).unwrap_or_default();
            return Err(PieceError::OtherStore {
                path: piece.store.clone(),
                found: as_text(&store.manifest().without_noise()),
                expected: as_text(&piece.manifest),
            });
        }
        *last = Some(Arc::clone(&store));
        Ok(store)
    }
}
