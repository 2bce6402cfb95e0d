//! The options of a measurement of one tap.

use std::num::NonZeroUsize;

use inject_sipit::collisions::{Metric, SearchOptions};

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
    /// The memory budget of the search, in bytes. The number of distances computed directly may depend on it, and no other result.
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

    /// Returns the same options with a search for the closest pairs in tiles, for rows in `bands` bands: `bands (bands + 1) /
    /// 2` units of the study for each tap. Nearest neighbours are not searched then. The closest pairs are the same as without
    /// tiles.
    pub fn with_tiles(self, bands: NonZeroUsize) -> Self {
        TapOptions { tiles: Some(bands), nearest: NeighbourSearch::Skipped, ..self }
    }

    /// Returns the options of the pair search at one tap.
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
