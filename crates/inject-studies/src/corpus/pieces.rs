//! The study of a store in pieces smaller than a tap, in this process or in others.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{ClosestPairs, PairTile, StateRows},
    models::{Progress, Tap},
    states::store::Store,
};

use crate::{
    completeness::Completeness,
    error::StudyError,
    run::{Finished, Run},
    tap_distances::{Others, TapDistances, TapOptions},
};

/// A piece of the study [`corpus`](super::corpus) in tiles, and a unit of its journal.
///
/// It can be sent to another process as JSON. Its result is the same wherever it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum CorpusPiece {
    /// The closest pairs of a tile.
    Tile(PairTile),
    /// Everything else about a tap.
    Others {
        /// The tap of the states.
        tap: Tap,
    },
}

/// The result of a [`CorpusPiece`], of kilobytes. It travels as JSON.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CorpusPart(Measured);

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Measured {
    Closest(ClosestPairs),
    Others(Box<Others>),
}

impl CorpusPiece {
    /// Returns all pieces of the study of these taps, for rows in `bands` bands: `bands (bands + 1) / 2 + 1` pieces a tap.
    pub fn all(taps: &[Tap], bands: NonZeroUsize) -> Vec<CorpusPiece> {
        let tiles = |tap| PairTile::triangle(tap, bands.get()).into_iter().map(CorpusPiece::Tile);
        taps.iter().flat_map(|&tap| tiles(tap).chain([CorpusPiece::Others { tap }])).collect()
    }

    /// Returns the tap of the states.
    pub fn tap(self) -> Tap {
        match self {
            CorpusPiece::Tile(tile) => tile.tap,
            CorpusPiece::Others { tap } => tap,
        }
    }

    /// Measures the piece.
    ///
    /// # Errors
    ///
    /// [`StudyError`] if the states cannot be read or compared.
    pub fn measure(
        self,
        store: &Store,
        options: &TapOptions,
        device: &Device,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<CorpusPart, StudyError> {
        Ok(CorpusPart(match self {
            CorpusPiece::Tile(tile) => {
                let (k, options) = (options.closest.get(), options.search());
                Measured::Closest(tile.closest_pairs(store, k, options, device, progress)?)
            }
            CorpusPiece::Others { tap } => {
                let rows = StateRows::of_store(store, tap)?;
                Measured::Others(Box::new(Others::measure(&rows, options, device, progress)?))
            }
        }))
    }
}

/// Carries out the study [`corpus`](super::corpus) of these taps in tiles as far as its journal, with the pieces measured by
/// `measure`: on a cluster, for example. It is called once, with the pieces that no journal has, and returns the result of each in
/// the same order. [`corpus`](super::corpus) with that journal and the same options finds nothing left to measure.
///
/// # Errors
///
/// The errors of the journal and of `measure`, and [`StudyError`] if the store lacks a tap.
///
/// # Panics
///
/// As [`Run::complete_together`].
pub fn corpus_in_pieces<E: From<StudyError>>(
    store: &Store,
    taps: &[Tap],
    bands: NonZeroUsize,
    options: &TapOptions,
    run: Run<'_>,
    measure: impl FnOnce(&[CorpusPiece], &TapOptions) -> Result<Vec<CorpusPart>, E>,
) -> Result<Completeness, E> {
    let options = options.with_tiles(bands);
    taps.iter().try_for_each(|&tap| store.tap(tap).map(|_| ())).map_err(StudyError::from)?;
    let about = super::description(store, &options);
    let pieces = CorpusPiece::all(taps, bands);
    let finished = run.complete_together(&about, pieces, |pieces| measure(pieces, &options))?;
    Ok(finished.completeness)
}

/// Puts the parts of each tap together. Taps with a missing piece are left out.
pub(super) fn join(
    found: Finished<CorpusPiece, CorpusPart>,
    taps: &[Tap],
    bands: NonZeroUsize,
    options: &TapOptions,
) -> Result<Finished<Tap, TapDistances>, StudyError> {
    let Finished { results, completeness } = found;
    let mut finished = Vec::new();
    for &tap in taps {
        let of_tap = results.iter().filter(|(piece, _)| piece.tap() == tap).map(|(_, part)| &part.0);
        let mut closest = ClosestPairs::keeping(options.closest.get());
        let (mut known, mut others) = (0, None);
        for measured in of_tap {
            known += 1;
            match measured {
                Measured::Closest(part) => closest.merge(part),
                Measured::Others(found) => others = Some((**found).clone()),
            }
        }
        if let Some(others) = others.filter(|_| known == CorpusPiece::all(&[tap], bands).len()) {
            finished.push((tap, others.with_closest(tap, closest)?));
        }
    }
    Ok(Finished { results: finished, completeness })
}
