//! The closest pairs, tile by tile: pieces of work for any number of processes.

use burn::tensor::Device;
use inject_states::{
    Share,
    models::{Progress, Tap},
    store::Store,
};

use crate::{
    answers::{ClosestPairs, Pair},
    error::CollisionError,
    pairs::Pairs,
    rows::StateRows,
    search::{Search, SearchOptions},
};

/// A tile of the triangle of all pairs: those of two bands of rows, or those within one band.
///
/// It is a piece of work that needs only itself and the store, so it can be sent to another process as JSON. The closest pairs of
/// all tiles merge, in any order, into those of all pairs ([`ClosestPairs::merge`]). A tile is answered alike wherever it is
/// computed.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_collisions::{ClosestPairs, PairTile, Pairs, Search, SearchOptions, StateRows, models::{Tap, silent}};
///
/// let states = ndarray::Array2::from_shape_fn((40, 3), |(row, column)| ((row * 37 + column * 11) % 101) as f32);
/// let rows = StateRows::new(states.view())?;
/// let (options, device) = (SearchOptions::default(), Device::flex());
/// let mut closest = ClosestPairs::keeping(2);
/// for tile in PairTile::triangle(Tap::Block(1), 3) {
///     closest.merge(&tile.among(&rows, 2, options, &device, &mut silent)?);
/// }
/// let whole = Search::new(&rows, &Pairs::All, options, &device)?.closest_pairs(2, &mut silent)?;
/// assert_eq!((closest.pairs, closest.decided), (whole.pairs, whole.decided));
/// # Ok::<(), inject_collisions::CollisionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PairTile {
    /// The tap of the states.
    pub tap: Tap,
    /// The band of the first row of each pair.
    pub first: Share,
    /// The band of the second row: the same one or a later one.
    pub second: Share,
}

impl PairTile {
    /// Returns all tiles of the pairs at a tap, for rows in `bands` bands: `bands (bands + 1) / 2` tiles.
    pub fn triangle(tap: Tap, bands: usize) -> Vec<PairTile> {
        let band = |number: usize| Share::new(number, bands).ok();
        let tiles = (0..bands).flat_map(|second| (0..=second).map(move |first| (first, second)));
        tiles
            .filter_map(|(first, second)| Some(PairTile { tap, first: band(first)?, second: band(second)? }))
            .collect()
    }

    /// Returns the `k` closest pairs of this tile, of the states of a store. Only the rows of the two bands are read, except for
    /// the checksums of a store that was opened with them.
    ///
    /// # Errors
    ///
    /// As [`StateRows::of_store`] and [`Search::new`].
    pub fn closest_pairs(
        self,
        store: &Store,
        k: usize,
        options: SearchOptions,
        device: &Device,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ClosestPairs, CollisionError> {
        let all = store.manifest().row_count;
        if self.is_empty(all) {
            return Ok(ClosestPairs::keeping(k));
        }
        let (first, second) = (self.first.range(all), self.second.range(all));
        let second = (self.first != self.second).then_some(second);
        let rows = StateRows::of_store_bands(store, self.tap, first, second)?;
        self.search(&rows, all, k, options, device, progress)
    }

    /// Returns the `k` closest pairs of this tile, of rows in memory.
    ///
    /// # Errors
    ///
    /// As [`Search::new`].
    pub fn among(
        self,
        rows: &StateRows<'_>,
        k: usize,
        options: SearchOptions,
        device: &Device,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ClosestPairs, CollisionError> {
        let all = rows.rows();
        if self.is_empty(all) {
            return Ok(ClosestPairs::keeping(k));
        }
        let (first, second) = (self.first.range(all), self.second.range(all));
        let rows = rows.bands(first, (self.first != self.second).then_some(second));
        self.search(&rows, all, k, options, device, progress)
    }

    /// Returns whether the tile has no pairs among `rows` rows.
    fn is_empty(self, rows: usize) -> bool {
        let [first, second] = [self.first, self.second].map(|band| band.range(rows).len());
        if self.first == self.second { first < 2 } else { first == 0 || second == 0 }
    }

    /// Searches the rows of the two bands, of `all` rows, and names those of the answer by their numbers among all.
    fn search(
        self,
        rows: &StateRows<'_>,
        all: usize,
        k: usize,
        options: SearchOptions,
        device: &Device,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ClosestPairs, CollisionError> {
        let (first, second) = (self.first.range(all), self.second.range(all));
        let pairs = if self.first == self.second { Pairs::All } else { Pairs::Between(first.len()) };
        let mut closest = Search::new(rows, &pairs, options, device)?.closest_pairs(k, progress)?;
        let number = |row: usize| {
            if row < first.len() { first.start + row } else { second.start + (row - first.len()) }
        };
        for pair in &mut closest.pairs {
            *pair = Pair { a: number(pair.a), b: number(pair.b), ..*pair };
        }
        Ok(closest)
    }
}
