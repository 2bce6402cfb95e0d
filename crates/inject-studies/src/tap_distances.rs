//! The distances between the states of one tap.

mod options;
mod quantile;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{
        ClosestPairs, Coverage, EqualRows, Geometry, Metric, NearestNeighbours, Pair, Pairs, Search,
        Separation, StateRows,
    },
    models::{Progress, Tap},
};

pub(crate) use self::quantile::{exact_quantiles, quantiles};
pub use self::{
    options::{NeighbourSearch, TapOptions},
    quantile::Quantile,
};
use crate::error::StudyError;

/// The distances between the states of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapDistances {
    /// The number of states, one for each different prompt.
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

/// A bin of a histogram: the number of pairs with a distance in `lower..upper`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Bin {
    /// The smallest distance in the bin.
    pub lower: f64,
    /// The smallest distance above the bin.
    pub upper: f64,
    /// The number of pairs whose distance is in the bin.
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
