//! The errors of this crate.

use std::{error::Error, io, iter, net::SocketAddr, path::PathBuf, time::Duration};

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use inject_collisions::states::store::StoreError;
use inject_studies::{StudyError, corpus::CorpusPiece};

use crate::words;

/// The reason why a piece cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// The text does not describe a piece.
    #[error("expected a piece in JSON")]
    Syntax {
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store at this path is not the one with which the job was submitted.
    #[error("`{path}` is not the store of the job: found {found}, expected {expected}")]
    OtherStore {
        /// Folder of the store that was opened.
        path: PathBuf,
        /// The description of the store that was found, in JSON.
        found: String,
        /// The description of the store of the job, in JSON.
        expected: String,
    },
    /// The states cannot be read or compared.
    #[error("cannot measure {} of `{store}`", name(*piece))]
    Measure {
        /// The piece that could not be measured.
        piece: CorpusPiece,
        /// The folder of the store.
        store: PathBuf,
        /// The error of the study.
        source: Box<StudyError>,
    },
}

/// The reason why a service or a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A piece cannot be measured in this process.
    #[error(transparent)]
    Piece(#[from] PieceError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The study cannot be described, or its journal cannot be read or written.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The job cannot be planned, submitted or finished.
    #[error("the job failed")]
    Job(#[from] DataFusionError),
    /// An executor could not measure a piece, and the job failed.
    #[error("the job failed: {reason}")]
    OnExecutor {
        /// The words of the executor.
        reason: String,
    },
    /// No scheduler accepts connections at the address.
    #[error("no scheduler answers at {address}{}", waited(*patience))]
    NoScheduler {
        /// The host and the port.
        address: String,
        /// The time that it was given.
        patience: Duration,
        /// The reason of the last try.
        source: io::Error,
    },
    /// The engine returned no result of a piece, or several that differ.
    #[error("the engine returned {found} results for {}, expected 1", name(*piece))]
    Count {
        /// The piece with too many results, or none.
        piece: CorpusPiece,
        /// The number of results that the engine returned for the piece.
        found: usize,
    },
    /// A result of the engine cannot be understood.
    #[error("the engine returned something other than measured pieces")]
    Result {
        /// The error of the engine.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that could not be used.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A folder for results cannot be created.
    #[error("cannot create the folder `{path}`")]
    Folder {
        /// The folder, or the one in which it was to be.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A service of the engine failed.
    #[error("the service failed")]
    Service(#[from] BallistaError),
}

impl EngineError {
    /// The error of a job, in the words of the executor that could not go on, if it was one.
    pub(crate) fn of_job(error: DataFusionError) -> Self {
        match words::found(&error.to_string()) {
            Some(reason) => EngineError::OnExecutor { reason },
            None => EngineError::Job(error),
        }
    }

    /// The error for a result that cannot be understood.
    pub(crate) fn result(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        EngineError::Result { source: source.into() }
    }
}

/// The time that something was given, unless it was none.
fn waited(patience: Duration) -> String {
    if patience.is_zero() { String::new() } else { format!(" within {} s", patience.as_secs()) }
}

/// Returns the name of a piece, for people.
pub fn name(piece: CorpusPiece) -> String {
    match piece {
        CorpusPiece::Tile(tile) => format!("bands {} and {} at {}", tile.first, tile.second, tile.tap),
        other => format!("the distribution at {}", other.tap()),
    }
}

/// Returns an error and its causes as one line.
pub fn chain(error: &dyn Error) -> String {
    let texts: Vec<String> =
        iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    texts.join(": ")
}
