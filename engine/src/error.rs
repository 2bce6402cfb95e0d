//! The errors of this crate.

use std::{error::Error, io, iter, net::SocketAddr, path::PathBuf};

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use inject_collisions::{CollisionError, PairTile, models::Tap, states::store::StoreError};

/// The reason why a tile cannot be searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The text does not describe a tile.
    #[error("expected a tile in JSON")]
    Syntax {
        /// The reason.
        source: serde_json::Error,
    },
    /// The store cannot be opened or lacks a tap.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store at this path is not the one with which the job was submitted.
    #[error("`{path}` is not the store of the job: found {found}, expected {expected}")]
    OtherStore {
        /// The folder.
        path: PathBuf,
        /// The description of the store that was found, in JSON.
        found: String,
        /// The description of the store of the job, in JSON.
        expected: String,
    },
    /// The states cannot be read or compared.
    #[error("cannot search the pairs of bands {} and {} at {} of `{store}`", tile.first, tile.second, tile.tap)]
    Search {
        /// The tile.
        tile: PairTile,
        /// The folder of the store.
        store: PathBuf,
        /// The reason.
        source: Box<CollisionError>,
    },
}

/// The reason why a service or a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There are no tiles.
    #[error("no tiles, expected at least one")]
    NoTiles,
    /// A tile cannot be listed or searched in this process.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The job cannot be planned, submitted or finished.
    #[error("the job failed")]
    Job(#[from] DataFusionError),
    /// The engine returned something else than the result of every tile.
    #[error("the engine returned the results of {found} tiles at {tap}, expected {expected}")]
    TileCount {
        /// The tap.
        tap: Tap,
        /// The number of tiles in the result.
        found: i64,
        /// The number of tiles submitted.
        expected: i64,
    },
    /// A result of the engine cannot be understood.
    #[error("the engine returned a result that is not the closest pairs of a tap")]
    Result {
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// A folder for the results of tasks cannot be created.
    #[error("cannot create a temporary folder")]
    Folder {
        /// The reason.
        source: io::Error,
    },
    /// A service of the engine failed.
    #[error("the service failed")]
    Service(#[from] BallistaError),
}

/// Returns an error and its causes as one line.
pub fn chain(error: &dyn Error) -> String {
    let texts: Vec<String> =
        iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    texts.join(": ")
}
