//! The distances between the states of one tap.

use burn::tensor::Device;
use inject_sipit::{
    collisions::{
        Coverage, Distribution, EqualRows, Geometry, Metric, Neighbours, Pair, Pairs, Rows, Search,
        SearchOptions, Separation,
    },
    models::Tap,
};

use super::StudyError;

/// What is asked about the states of each tap.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TapOptions {
    /// What is meant by a distance.
    pub metric: Metric,
    /// How many of the closest pairs are reported.
    pub closest: usize,
    /// Up to so many pairs, their distribution is exact.
    pub exact_up_to: u64,
    /// Beyond that, so many pairs are drawn for it.
    pub sampled_pairs: u64,
    /// What that draw depends on.
    pub seed: u64,
    /// Whether every row's nearest neighbour is searched for.
    pub nearest: Nearest,
    /// Of how many rows the intrinsic dimension is estimated.
    pub dimension_sample: usize,
    /// Bytes that the search may use. No result depends on it.
    #[serde(skip)]
    pub memory_budget: usize,
}

/// Whether every row's nearest neighbour is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nearest {
    /// No: only the closest pairs of all.
    Skipped,
    /// Yes, which takes longer and gives the distribution of margins and the co-Lipschitz constant.
    Searched,
}

impl Default for TapOptions {
    /// L2; 10 pairs; the distribution of up to a million pairs; nearest neighbours; 2000 rows; 2 GiB.
    fn default() -> Self {
        TapOptions {
            metric: Metric::L2,
            closest: 10,
            exact_up_to: 1_000_000,
            sampled_pairs: 1_000_000,
            seed: 1,
            nearest: Nearest::Searched,
            dimension_sample: 2000,
            memory_budget: SearchOptions::default().memory_budget,
        }
    }
}

/// The distances between the states of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TapDistances {
    /// How many states.
    pub rows: usize,
    /// How many pairs of them belong to different prompts, and so were decided on.
    pub pairs: u64,
    /// How many distances the closest pairs took in f64; bounds excluded the other pairs.
    pub computed: u64,
    /// The smallest distance of all.
    pub minimum: f64,
    /// The closest pairs, exact, the closest first: one at least.
    pub closest: Vec<Pair>,
    /// States that are equal number by number although their prompts differ.
    pub equal: Vec<EqualRows>,
    /// Which pairs the quantiles and the histogram are of.
    pub coverage: Coverage,
    /// Quantiles of the distances of these pairs.
    pub quantiles: Vec<Quantile>,
    /// How many of these pairs lie where.
    pub histogram: Vec<Bin>,
    /// Quantiles of the distance from every row to its nearest neighbour, exact; empty if they were not searched for.
    pub nearest: Vec<Quantile>,
    /// Separation margin and co-Lipschitz constant, if nearest neighbours were searched for.
    pub separation: Option<Separation>,
    /// Norms, anisotropy and intrinsic dimension.
    pub geometry: Geometry,
}

/// Where the distance lies that a share of the distances does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Quantile {
    /// The share, from 0 to 1.
    pub share: f64,
    /// Not below this.
    pub lower: f64,
    /// Not above this: at most 1.6 % above the lower end, and the same where it is exact.
    pub upper: f64,
}

impl Quantile {
    /// The shares that quantiles are given for.
    pub const SHARES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

    /// What a share of the distances does not exceed, if these quantiles have that share.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_studies::Quantile;
    ///
    /// let quantiles = [Quantile { share: 0.0, lower: 1.0, upper: 1.0 }, Quantile { share: 0.5, lower: 3.0, upper: 3.1 }];
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.5), Some(3.1));
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.99), None);
    /// ```
    pub fn upper_at(quantiles: &[Quantile], share: f64) -> Option<f64> {
        quantiles.iter().find(|quantile| quantile.share == share).map(|quantile| quantile.upper)
    }
}

/// How many pairs have a distance from `lower` to below `upper`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bin {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// How many.
    pub pairs: u64,
}

impl TapDistances {
    /// Measures the rows. `prompt` gives the token ids of a row; `done` is told how much is done.
    ///
    /// # Errors
    ///
    /// [`StudyError::NoPairs`] if all rows belong to one prompt, and what [`Search`] refuses.
    pub fn measure<'p>(
        tap: Tap,
        rows: &Rows<'_>,
        prompt: impl Fn(usize) -> &'p [u32],
        options: &TapOptions,
        device: &Device,
        done: &mut dyn FnMut(f64),
    ) -> Result<Self, StudyError> {
        let search_options = SearchOptions {
            metric: options.metric,
            memory_budget: options.memory_budget,
            ..SearchOptions::default()
        };
        let search = Search::new(rows, &Pairs::All, search_options, device)?;
        let pairs = search.pair_count();
        let steps = if options.nearest == Nearest::Searched { 3.0 } else { 2.0 };
        let mut step = |number: f64, progress: inject_sipit::collisions::SearchProgress| {
            done((number + progress.pairs_done as f64 / progress.pairs.max(1) as f64) / steps);
        };
        let closest = search.closest_pairs(options.closest.max(1), &mut |progress| step(0.0, progress))?;
        let minimum = closest.minimum().ok_or(StudyError::NoPairs { tap })?.distance;
        let coverage = match pairs <= options.exact_up_to {
            true => Coverage::Exact,
            false => Coverage::Sampled { pairs: options.sampled_pairs, seed: options.seed },
        };
        let distribution = search.distribution(coverage, &mut |progress| step(1.0, progress))?;
        let neighbours = match options.nearest {
            Nearest::Skipped => None,
            Nearest::Searched => Some(search.nearest_neighbours(&mut |progress| step(2.0, progress))?),
        };
        let separation = match options.metric {
            Metric::L2 => neighbours.as_ref().and_then(|neighbours| Separation::of(neighbours, prompt)),
            Metric::Cosine => None,
        };
        Ok(TapDistances {
            rows: rows.rows(),
            pairs,
            computed: closest.computed,
            minimum,
            closest: closest.pairs,
            equal: search.equal_rows(),
            coverage,
            quantiles: quantiles(&distribution),
            histogram: distribution
                .bins()
                .map(|(bin, pairs)| Bin { lower: bin.lower, upper: bin.upper, pairs })
                .collect(),
            nearest: neighbours.map(|neighbours| exact_quantiles(distances(&neighbours))).unwrap_or_default(),
            separation,
            geometry: Geometry::of(rows, options.dimension_sample),
        })
    }

    /// The median of the distances, as its upper bound. `None` if none was counted.
    pub fn median(&self) -> Option<f64> {
        Quantile::upper_at(&self.quantiles, 0.5)
    }
}

fn distances(neighbours: &Neighbours) -> Vec<f64> {
    neighbours.nearest.iter().flatten().map(|neighbour| neighbour.distance).collect()
}

pub(super) fn quantiles(distribution: &Distribution) -> Vec<Quantile> {
    let quantile =
        |share| distribution.quantile(share).map(|at| Quantile { share, lower: at.lower, upper: at.upper });
    Quantile::SHARES.into_iter().filter_map(quantile).collect()
}

/// Quantiles of numbers that are all there: each is one of them. The same rule as [`Distribution::quantile`].
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
