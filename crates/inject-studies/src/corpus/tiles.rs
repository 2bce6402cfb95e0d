//! The distances of a store, divided more finely than tap by tap.

use burn::tensor::Device;
use inject_sipit::{
    collisions::{ClosestPairs, PairTile, StateRows},
    models::{Progress, Tap},
    states::store::Store,
};

use crate::{
    error::StudyError,
    journal::Description,
    run::{Finished, Run},
    tap_distances::{Others, TapDistances, TapOptions},
};

/// A unit of the study: a piece of the search for the closest pairs of a tap, or everything else about the tap.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Piece {
    Tile(PairTile),
    Others { tap: Tap },
}

/// The result of a piece.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Measured {
    Closest(ClosestPairs),
    Others(Box<Others>),
}

/// Measures the taps, each in the tiles of `bands` bands of rows. Taps with a missing tile are left out of the results, and
/// the completeness names the pieces.
pub(super) fn measure(
    store: &Store,
    taps: &[Tap],
    bands: usize,
    options: &TapOptions,
    device: &Device,
    about: &Description,
    run: Run<'_>,
) -> Result<Finished<Tap, TapDistances>, StudyError> {
    let pieces_of = |&tap: &Tap| {
        let tiles = PairTile::triangle(tap, bands).into_iter().map(Piece::Tile);
        tiles.chain([Piece::Others { tap }]).collect::<Vec<_>>()
    };
    let pieces: Vec<Piece> = taps.iter().flat_map(pieces_of).collect();
    let Finished { results, completeness } = run.complete(about, pieces, |piece, done| {
        let mut told = |progress: Progress<'_>| done(progress.fraction());
        Ok::<_, StudyError>(match *piece {
            Piece::Tile(tile) => {
                let (k, options) = (options.closest.get(), options.search());
                Measured::Closest(tile.closest_pairs(store, k, options, device, &mut told)?)
            }
            Piece::Others { tap } => {
                let rows = StateRows::of_store(store, tap)?;
                Measured::Others(Box::new(Others::measure(&rows, options, device, &mut told)?))
            }
        })
    })?;
    let mut finished = Vec::new();
    for &tap in taps {
        let of_tap = results.iter().filter(|(piece, _)| piece.tap() == tap).map(|(_, measured)| measured);
        let mut closest = ClosestPairs::keeping(options.closest.get());
        let (mut known, mut others) = (0, None);
        for measured in of_tap {
            known += 1;
            match measured {
                Measured::Closest(part) => closest.merge(part),
                Measured::Others(found) => others = Some((**found).clone()),
            }
        }
        if let Some(others) = others.filter(|_| known == pieces_of(&tap).len()) {
            finished.push((tap, others.with_closest(tap, closest)?));
        }
    }
    Ok(Finished { results: finished, completeness })
}

impl Piece {
    fn tap(&self) -> Tap {
        match self {
            Piece::Tile(tile) => tile.tap,
            Piece::Others { tap } => *tap,
        }
    }
}
