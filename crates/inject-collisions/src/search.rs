//! Questions about the distances of all pairs of rows.

mod axes;
mod bounds;
mod cascade;
mod grid;
mod histogram;
mod index;
mod options;
mod plan;
mod products;
mod question;
mod sweep;
mod tile;

use std::borrow::Cow;

use burn::tensor::Device;
use inject_states::{
    models::{Progress, Unit},
    random::SplitMix,
};

pub use self::options::{Arithmetic, SearchOptions};
use self::{
    axes::{Axes, Position},
    histogram::histogram,
    index::Index,
    plan::Plan,
    products::Multiplier,
    question::Question,
    sweep::sweep,
    tile::Scan,
};
use crate::{
    answers::{
        ClosestPairs, Coverage, Distribution, EqualRows, NearestNeighbours, ThresholdCounts, equal_rows,
    },
    error::CollisionError,
    integer_products::Kernel,
    metric::Points,
    pairs::Pairs,
    rows::StateRows,
    tuning::{LARGEST_BLOCK, SMALLEST_BLOCK, TILES_AT_ONCE},
};

/// A search over the distances of all pairs of rows.
///
/// Every distance in an answer is computed directly in f64 from the rows. Faster arithmetic only excludes pairs, by bounds that
/// hold for any data (docs/distances.md in the repository derives them). So the answers are the same as those of a double loop
/// over all pairs, bit by bit, on every device.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_collisions::{Pair, Pairs, Search, SearchOptions, StateRows, models::silent};
///
/// let states = ndarray::arr2(&[[0.0_f32, 0.0], [10.0, 0.0], [10.0, 0.25], [0.0, 3.0]]);
/// let rows = StateRows::new(states.view())?;
/// let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &Device::flex())?;
/// let closest = search.closest_pairs(1, &mut silent)?;
/// assert_eq!(closest.minimum(), Some(Pair::new(1, 2, 0.25)));
/// # Ok::<(), inject_collisions::CollisionError>(())
/// ```
#[derive(Debug)]
pub struct Search<'a> {
    points: Points<'a>,
    pairs: &'a Pairs,
    pair_count: u64,
    memory_budget: usize,
    multiplier: Multiplier,
}

impl<'a> Search<'a> {
    /// Prepares a search. `device` computes products that the processor does not compute itself (see
    /// [`Arithmetic`](crate::Arithmetic)).
    ///
    /// # Errors
    ///
    /// - [`CollisionError::LabelCount`] if the number of labels differs from the number of rows.
    /// - [`CollisionError::NoDirection`] for a row of zeros under [`Metric::Cosine`](crate::Metric::Cosine).
    /// - [`CollisionError::BudgetTooSmall`] if the search does not fit into the memory budget.
    /// - [`CollisionError::InexactDevice`] if the device multiplies less precisely than f32, and [`CollisionError::Device`] if it
    ///   fails.
    pub fn new(
        rows: &'a StateRows<'a>,
        pairs: &'a Pairs,
        options: SearchOptions,
        device: &Device,
    ) -> Result<Self, CollisionError> {
        pairs.check(rows)?;
        let points = Points::new(rows, options.metric)?;
        products::check(device)?;
        let (pair_count, memory_budget) = (pairs.count(rows), options.memory_budget);
        let kernel = match options.arithmetic {
            Arithmetic::F32OnDevice => None,
            Arithmetic::I16OnProcessor => Kernel::accelerated(),
            Arithmetic::I16Portable => Some(Kernel::Portable),
        };
        let multiplier = Multiplier { device: device.clone(), kernel };
        let search = Search { points, pairs, pair_count, memory_budget, multiplier };
        search.check_budget(Plan::smallest(rows.columns()))?;
        Ok(search)
    }

    /// Returns the number of pairs that count.
    pub fn pair_count(&self) -> u64 {
        self.pair_count
    }

    /// Returns the `k` closest pairs. The distance of the first is the global minimum.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub fn closest_pairs(
        &self,
        k: usize,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ClosestPairs, CollisionError> {
        let mut closest = ClosestPairs::keeping(k);
        if k > 0 {
            self.ask(&mut closest, progress)?;
        }
        closest.decided = self.pair_count;
        Ok(closest)
    }

    /// Returns the nearest neighbour of every row.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub fn nearest_neighbours(
        &self,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<NearestNeighbours, CollisionError> {
        let mut neighbours = NearestNeighbours::of(self.points.rows.rows());
        self.ask(&mut neighbours, progress)?;
        neighbours.decided = self.pair_count;
        Ok(neighbours)
    }

    /// Returns the number of pairs below each threshold.
    ///
    /// This is fast for thresholds near the smallest distances. For a threshold near typical distances, use
    /// [`Search::distribution`].
    ///
    /// # Errors
    ///
    /// [`CollisionError::InvalidThreshold`], [`CollisionError::Device`].
    pub fn count_below(
        &self,
        thresholds: &[f64],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ThresholdCounts, CollisionError> {
        let mut counts = ThresholdCounts::of(thresholds)?;
        self.ask(&mut counts, progress)?;
        counts.decided = self.pair_count;
        Ok(counts)
    }

    /// Returns the distribution of all distances, or of a sample of them.
    ///
    /// # Errors
    ///
    /// [`CollisionError::BudgetTooSmall`] for [`Coverage::Exact`] if the coordinates of all rows in f32 do not fit into the memory
    /// budget, and [`CollisionError::Device`].
    pub fn distribution(
        &self,
        coverage: Coverage,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Distribution, CollisionError> {
        let mut distribution = Distribution::of(coverage);
        match coverage {
            Coverage::Exact => {
                self.check_budget(Plan::Whole)?;
                let multiplier = Multiplier { kernel: None, ..self.multiplier.clone() };
                let index = self.whole(&Position::of(&self.points), &multiplier);
                histogram(self.scan(&index), &mut distribution, TILES_AT_ONCE, &mut |share| {
                    progress(self.progress(share));
                })?;
            }
            Coverage::Sampled { pairs, seed } => {
                self.sample(pairs, seed, |distance| distribution.add(Distribution::bin(distance), 1));
                distribution.computed = distribution.pairs;
            }
        }
        Ok(distribution)
    }

    /// Returns the groups of rows of different prompts that are equal in every coordinate.
    pub fn equal_rows(&self) -> Vec<EqualRows> {
        equal_rows(self.points.rows, self.pairs)
    }

    /// Draws pairs uniformly from those that count. Draws none if no pair counts.
    fn sample(&self, pairs: u64, seed: u64, mut take: impl FnMut(f64)) {
        let n = self.points.rows.rows() as u64;
        let mut buffers = [Vec::new(), Vec::new()];
        let mut numbers = SplitMix::seeded(seed);
        let mut left = if self.pair_count == 0 { 0 } else { pairs };
        while left > 0 {
            let [a, b] = [(); 2].map(|()| numbers.below(n) as usize);
            if a != b && self.pairs.admit(self.points.rows, a, b) {
                take(self.points.distance(a, b, &mut buffers));
                left -= 1;
            }
        }
    }

    fn ask<Q: Question>(
        &self,
        question: &mut Q,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), CollisionError> {
        let d = self.points.rows.columns();
        let position = Position::of(&self.points);
        let reach = question.reach(self.points.metric());
        let axes = Axes::principal(&self.points, &position, Q::AXES.min(d));
        let plan =
            Plan::choose(&self.points, &position, &axes, reach, &self.multiplier, |plan| self.fits(plan));
        let index = match plan {
            Plan::Whole => self.whole(&position, &self.multiplier),
            Plan::Principal { lead, cascade } => {
                let axes = axes.first(cascade);
                let labels = self.labels();
                Index::along(
                    &self.points,
                    &position,
                    &axes,
                    lead,
                    self.block(),
                    labels.as_deref(),
                    &self.multiplier,
                )
            }
        };
        sweep(self.scan(&index), question, TILES_AT_ONCE, &mut |share| progress(self.progress(share)))?;
        progress(self.progress(1.0));
        Ok(())
    }

    /// Returns the size in bytes of an index by this plan and of its tiles.
    fn needed(&self, plan: Plan) -> usize {
        let tiles = TILES_AT_ONCE * self.block() * self.block() * 4 * 2;
        plan.bytes(self.points.rows.rows(), self.points.rows.columns()).saturating_add(tiles)
    }

    fn fits(&self, plan: Plan) -> bool {
        self.needed(plan) <= self.memory_budget
    }

    /// Checks that an index by this plan fits into the memory budget.
    ///
    /// # Errors
    ///
    /// [`CollisionError::BudgetTooSmall`].
    fn check_budget(&self, plan: Plan) -> Result<(), CollisionError> {
        let (found, needed) = (self.memory_budget, self.needed(plan));
        let (rows, columns) = (self.points.rows.rows(), self.points.rows.columns());
        if found < needed {
            Err(CollisionError::BudgetTooSmall { found, needed, rows, columns })
        } else {
            Ok(())
        }
    }

    fn progress(&self, share: f64) -> Progress<'static> {
        Progress::new("search", Unit::Pairs, (share * self.pair_count as f64) as u64, self.pair_count)
    }

    fn whole(&self, position: &Position, multiplier: &Multiplier) -> Index {
        Index::whole(&self.points, position, self.block(), self.labels().as_deref(), multiplier)
    }

    /// Returns the number of rows in a block.
    fn block(&self) -> usize {
        (self.points.rows.rows() / 8).next_power_of_two().clamp(SMALLEST_BLOCK, LARGEST_BLOCK)
    }

    /// The labels by which the rows are sorted first, so that most pairs of blocks hold no pair that counts.
    fn labels(&self) -> Option<Cow<'_, [u32]>> {
        match self.pairs {
            Pairs::Within(labels) => Some(labels.into()),
            Pairs::Between(first) => {
                Some((0..self.points.rows.rows()).map(|row| u32::from(row >= *first)).collect())
            }
            Pairs::All | Pairs::Across(_) => None,
        }
    }

    fn scan<'s>(&'s self, index: &'s Index) -> Scan<'s> {
        Scan { points: &self.points, pairs: self.pairs, index }
    }
}
