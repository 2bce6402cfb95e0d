//! The journal of the study, filled by a cluster.

use std::{num::NonZeroUsize, path::Path};

use inject_collisions::{models::Tap, states::store::Store};
use inject_studies::{Completeness, Run, corpus::CorpusPart, corpus_in_pieces};

use crate::{
    descriptor::{PairOptions, PieceDescriptor},
    error::EngineError,
};

/// Carries out the study [`corpus`](inject_studies::corpus()) of a store in the tiles of so many bands, as far as its journal. `measure`
/// receives the pieces that the journal lacks: [`measure`](crate::measure()) or [`measure_here`](crate::measure_here).
///
/// The journal has the bytes that the study writes in one process, so the study continues from it and has only its result to write.
///
/// # Errors
///
/// [`EngineError::Study`] if the store lacks a tap, or the journal belongs to another study or cannot be written, and the errors of
/// `measure`.
pub fn fill_journal(
    journal: &Path,
    store: &Store,
    taps: &[Tap],
    bands: NonZeroUsize,
    options: PairOptions,
    measure: impl FnOnce(&[PieceDescriptor]) -> Result<Vec<CorpusPart>, EngineError>,
) -> Result<Completeness, EngineError> {
    let run = Run::silent().with_journal(journal);
    corpus_in_pieces(store, taps, bands, &options.study(), run, |pieces, _| {
        measure(&PieceDescriptor::of_store(store, pieces, options))
    })
}
