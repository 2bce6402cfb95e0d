//! The distances between the states of one tap.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{
        ClosestPairs, Coverage, Distribution, EqualRows, Geometry, Metric, NearestNeighbours, Pair, Pairs,
        Search, SearchOptions, Separation, StateRows,
    },
    models::{Progress, Tap},
};

use crate::error::StudyError;

/// The options of a measurement of one tap.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct TapOptions {
    /// The metric in which distances are measured.
    pub metric: Metric,
    /// The number of closest pairs to report.
    pub closest: NonZeroUsize,
    /// The largest number of pairs whose distribution is computed exactly.
    pub exact_up_to: u64,
    /// The number of pairs that are drawn if there are more than that.
    pub sampled_pairs: u64,
    /// The seed of the draw.
    pub seed: u64,
    /// Whether the nearest neighbour of every row is searched for.
    pub nearest: NeighbourSearch,
    /// The number of rows from which the intrinsic dimension is estimated.
    pub dimension_sample: NonZeroUsize,
    /// The number of bands of rows whose tiles are searched one by one for the closest pairs, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiles: Option<NonZeroUsize>,
    /// The memory budget of the search, in bytes. No result depends on it.
    #[serde(skip)]
    pub memory_budget: usize,
}

/// Whether the nearest neighbour of every row is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NeighbourSearch {
    /// Only the closest pairs are searched for.
    Skipped,
    /// Nearest neighbours are searched for too. This takes longer, and gives the distribution of margins and the co-Lipschitz
    /// constant.
    Searched,
}

impl TapOptions {
    /// Sets [`TapOptions::metric`].
    pub fn with_metric(self, metric: Metric) -> Self {
        TapOptions { metric, ..self }
    }

    /// Sets [`TapOptions::closest`].
    pub fn with_closest(self, closest: NonZeroUsize) -> Self {
        TapOptions { closest, ..self }
    }

    /// Sets [`TapOptions::nearest`].
    pub fn with_nearest(self, nearest: NeighbourSearch) -> Self {
        TapOptions { nearest, ..self }
    }

    /// Returns the same options with a search for the closest pairs in the tiles of so many bands of rows: `bands (bands + 1) /
    /// 2` units of the study for each tap. Nearest neighbours are not searched then. The closest pairs are the same as without
    /// tiles.
    pub fn with_tiles(self, bands: NonZeroUsize) -> Self {
        TapOptions { tiles: Some(bands), nearest: NeighbourSearch::Skipped, ..self }
    }

    /// The options of a search.
    pub(crate) fn search(&self) -> SearchOptions {
        SearchOptions::default().with_metric(self.metric).with_memory_budget(self.memory_budget)
    }

    /// Returns the same options with a memory budget in bytes.
    pub fn with_memory_budget(self, memory_budget: usize) -> Self {
        TapOptions { memory_budget, ..self }
    }
}

impl Default for TapOptions {
    /// Returns options for L2, the 10 closest pairs, the distribution of up to a million pairs, nearest neighbours, a dimension
    /// sample of 2000 rows, and a memory budget of 2 GiB.
    fn default() -> Self {
        TapOptions {
            metric: Metric::L2,
            closest: const { NonZeroUsize::new(10).unwrap() },
            exact_up_to: 1_000_000,
            sampled_pairs: 1_000_000,
            seed: 1,
            nearest: NeighbourSearch::Searched,
            dimension_sample: const { NonZeroUsize::new(2000).unwrap() },
            tiles: None,
            memory_budget: SearchOptions::default().memory_budget,
        }
    }
}

/// The distances between the states of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapDistances {
    /// The number of states.
    pub rows: usize,
    /// The number of pairs of different prompts. All of them were examined.
    pub pairs: u64,
    /// The number of distances computed in f64 for the closest pairs. Bounds excluded the other pairs.
    pub computed: u64,
    /// The smallest distance of all pairs.
    pub minimum: f64,
    /// The closest pairs, exact and in ascending order: at least one.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Pair>"))]
    pub closest: Vec<Pair>,
    /// Groups of states that are equal in every number although their prompts differ.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::EqualRows>"))]
    pub equal: Vec<EqualRows>,
    /// The pairs that the quantiles and the histogram count.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Coverage"))]
    pub coverage: Coverage,
    /// Quantiles of the distances of these pairs.
    pub quantiles: Vec<Quantile>,
    /// The number of these pairs in each bin.
    pub histogram: Vec<Bin>,
    /// Exact quantiles of the distance from each row to its nearest neighbour; empty if these were not requested.
    pub nearest: Vec<Quantile>,
    /// Separation margin and co-Lipschitz constant, if nearest neighbours were searched for.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Separation>"))]
    pub separation: Option<Separation>,
    /// Norms, anisotropy and intrinsic dimension.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Geometry"))]
    pub geometry: Geometry,
}

/// The distance that a share of the distances does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Quantile {
    /// The share, from 0 to 1.
    pub share: f64,
    /// A lower bound of the quantile.
    pub lower: f64,
    /// An upper bound of the quantile: at most 1.6 % above the lower one, and equal to it if the quantile is exact.
    pub upper: f64,
}

impl Quantile {
    /// The shares that quantiles are given for.
    pub const SHARES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

    /// Creates a quantile that is known exactly.
    pub const fn exact(share: f64, value: f64) -> Self {
        Quantile { share, lower: value, upper: value }
    }

    /// Returns the upper bound of the quantile at a share, if `quantiles` contains that share.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_studies::Quantile;
    ///
    /// let quantiles = [Quantile::exact(0.0, 1.0), Quantile::exact(0.5, 3.1)];
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.5), Some(3.1));
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.99), None);
    /// ```
    pub fn upper_at(quantiles: &[Quantile], share: f64) -> Option<f64> {
        quantiles.iter().find(|quantile| quantile.share == share).map(|quantile| quantile.upper)
    }
}

/// A bin of a histogram: the number of pairs with a distance in `lower..upper`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Bin {
    /// The smallest distance in the bin.
    pub lower: f64,
    /// The smallest distance above the bin.
    pub upper: f64,
    /// The number of pairs.
    pub pairs: u64,
}

impl TapDistances {
    /// Measures the rows. `prompt` returns the token ids of a row. `done` receives the finished share.
    ///
    /// # Errors
    ///
    /// [`StudyError::NoPairs`] if all rows belong to one prompt, and the errors of [`Search`].
    pub fn measure<'p>(
        tap: Tap,
        rows: &StateRows<'_>,
        prompt: impl Fn(usize) -> &'p [u32],
        options: &TapOptions,
        device: &Device,
        done: &mut dyn FnMut(f64),
    ) -> Result<Self, StudyError> {
        let search = Search::new(rows, &Pairs::All, options.search(), device)?;
        let steps = if options.nearest == NeighbourSearch::Searched { 3.0 } else { 2.0 };
        let mut step = |number: f64, progress: Progress<'_>| {
            done((number + progress.fraction()) / steps);
        };
        let closest = search.closest_pairs(options.closest.get(), &mut |progress| step(0.0, progress))?;
        if closest.minimum().is_none() {
            return Err(StudyError::NoPairs { tap });
        }
        let others = Others::of(&search, rows, options, &mut |progress| step(1.0, progress))?;
        let neighbours = match options.nearest {
            NeighbourSearch::Skipped => None,
            NeighbourSearch::Searched => {
                Some(search.nearest_neighbours(&mut |progress| step(2.0, progress))?)
            }
        };
        let separation = match options.metric {
            Metric::L2 => neighbours.as_ref().and_then(|neighbours| Separation::of(neighbours, prompt)),
            _ => None,
        };
        let nearest =
            neighbours.map(|neighbours| exact_quantiles(distances(&neighbours))).unwrap_or_default();
        Ok(TapDistances { nearest, separation, ..others.with_closest(tap, closest)? })
    }

    /// Returns the median of the distances, as its upper bound. `None` if none was counted.
    pub fn median(&self) -> Option<f64> {
        Quantile::upper_at(&self.quantiles, 0.5)
    }
}

/// Everything about a tap except its closest pairs and nearest neighbours. It takes time in proportion to the rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Others {
    rows: usize,
    pairs: u64,
    equal: Vec<EqualRows>,
    coverage: Coverage,
    quantiles: Vec<Quantile>,
    histogram: Vec<Bin>,
    geometry: Geometry,
}

impl Others {
    /// Measures the rows.
    ///
    /// # Errors
    ///
    /// The errors of [`Search`], if the options do not fit the rows.
    pub(crate) fn measure(
        rows: &StateRows<'_>,
        options: &TapOptions,
        device: &Device,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, StudyError> {
        let search = Search::new(rows, &Pairs::All, options.search(), device)?;
        Others::of(&search, rows, options, progress)
    }

    fn of(
        search: &Search<'_>,
        rows: &StateRows<'_>,
        options: &TapOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, StudyError> {
        let pairs = search.pair_count();
        let coverage = match pairs <= options.exact_up_to {
            true => Coverage::Exact,
            false => Coverage::Sampled { pairs: options.sampled_pairs, seed: options.seed },
        };
        let distribution = search.distribution(coverage, progress)?;
        Ok(Others {
            rows: rows.rows(),
            pairs,
            equal: search.equal_rows(),
            coverage,
            quantiles: quantiles(&distribution),
            histogram: distribution
                .bins()
                .map(|(bin, pairs)| Bin { lower: bin.lower, upper: bin.upper, pairs })
                .collect(),
            geometry: Geometry::of(rows, options.dimension_sample),
        })
    }

    /// The distances of the tap, given its closest pairs.
    ///
    /// # Errors
    ///
    /// [`StudyError::NoPairs`] if there are none.
    pub(crate) fn with_closest(self, tap: Tap, closest: ClosestPairs) -> Result<TapDistances, StudyError> {
        let minimum = closest.minimum().ok_or(StudyError::NoPairs { tap })?.distance;
        let Others { rows, pairs, equal, coverage, quantiles, histogram, geometry } = self;
        Ok(TapDistances {
            rows,
            pairs,
            computed: closest.computed,
            minimum,
            closest: closest.pairs,
            equal,
            coverage,
            quantiles,
            histogram,
            nearest: Vec::new(),
            separation: None,
            geometry,
        })
    }
}

fn distances(neighbours: &NearestNeighbours) -> Vec<f64> {
    neighbours.nearest.iter().flatten().map(|neighbour| neighbour.distance).collect()
}

pub(super) fn quantiles(distribution: &Distribution) -> Vec<Quantile> {
    let quantile =
        |share| distribution.quantile(share).map(|at| Quantile { share, lower: at.lower, upper: at.upper });
    Quantile::SHARES.into_iter().filter_map(quantile).collect()
}

/// Returns the quantiles of a list of numbers. Each is one of the numbers, chosen as in [`Distribution::quantile`].
pub(super) fn exact_quantiles(mut distances: Vec<f64>) -> Vec<Quantile> {
    distances.sort_by(f64::total_cmp);
    let Some(last) = distances.len().checked_sub(1) else { return Vec::new() };
    let at = |share: f64| {
        let rank = (share * distances.len() as f64).ceil() as usize;
        distances[rank.saturating_sub(1).min(last)]
    };
    Quantile::SHARES.into_iter().map(|share| Quantile { share, lower: at(share), upper: at(share) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_quantiles_are_members_at_their_rank() {
        let found = exact_quantiles((1..=100).rev().map(f64::from).collect());
        let expected = [1.0, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 100.0];
        assert_eq!(found.iter().map(|quantile| quantile.upper).collect::<Vec<_>>(), expected);
        assert_eq!(exact_quantiles(Vec::new()), []);
    }
}
