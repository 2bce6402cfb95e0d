//! Questions about the distances of all pairs of rows.

mod axes;
mod bounds;
mod cascade;
mod grid;
mod histogram;
mod index;
mod order;
mod plan;
mod products;
mod question;
mod sweep;
mod tile;

use burn::tensor::Device;
use inject_states::random::SplitMix;

pub use self::order::near_together;

use self::{
    axes::{Axes, Position},
    histogram::histogram,
    index::Index,
    plan::{Plan, Reach},
    products::Multiplier,
    question::Question,
    sweep::sweep,
    tile::Scan,
};
use crate::{
    ClosestPairs, CollisionError, Coverage, Distribution, EqualRows, Metric, Neighbours, Pairs, PairsBelow,
    Rows, equal::equal_rows, metric::Points, whole_numbers::Kernel,
};

/// Rows in a block: enough for products at the full rate, few enough for the products of two blocks to stay in cache.
const LARGEST_BLOCK: usize = 512;
/// Few rows still make several blocks, so that small data takes the same path as large.
const SMALLEST_BLOCK: usize = 16;
/// Tiles that are looked at between two updates of how far each row looks: a megabyte each.
const TILES_AT_ONCE: usize = 16;
/// Principal axes for questions that look as far as each row's nearest neighbour.
const AXES: usize = 192;
/// Principal axes for the closest pairs: so little is left to look at that more would take longer to find than they save.
const AXES_FOR_FEW_PAIRS: usize = 32;

/// What multiplies the rows with each other. The answers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The device, in f32.
    F32OnDevice,
    /// The processor, in whole numbers of 16 bits, which takes half the time. A processor without the instructions (AVX-512 VNNI)
    /// leaves it to the device, and so does [`Search::distribution`], which needs more digits.
    I16OnProcessor,
}

/// What is meant by a distance, what computes, and how much memory may be used to find the small ones.
///
/// # Example
///
/// ```
/// use inject_collisions::{Metric, SearchOptions};
///
/// let options = SearchOptions { metric: Metric::Cosine, ..SearchOptions::default() };
/// assert_eq!(options.memory_budget, 2 << 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// What is meant by a distance.
    pub metric: Metric,
    /// What multiplies the rows with each other.
    pub arithmetic: Arithmetic,
    /// How much may be used beside the rows themselves.
    ///
    /// # Units
    ///
    /// Bytes.
    pub memory_budget: usize,
}

impl Default for SearchOptions {
    /// L2, the processor, and 2 GiB.
    fn default() -> Self {
        SearchOptions { metric: Metric::L2, arithmetic: Arithmetic::I16OnProcessor, memory_budget: 2 << 30 }
    }
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchProgress {
    /// Pairs decided so far.
    pub pairs_done: u64,
    /// Pairs in all.
    pub pairs: u64,
}

/// Rows whose distances can be asked about.
///
/// Every distance that a question answers with is computed directly in f64 from the rows. Faster arithmetic only excludes
/// pairs, by bounds that hold whatever the data: docs/distances.md derives them. So the answers are those of the double loop
/// over all pairs, digit by digit, on every device.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_collisions::{Pair, Pairs, Rows, Search, SearchOptions};
///
/// let states = ndarray::arr2(&[[0.0_f32, 0.0], [10.0, 0.0], [10.0, 0.25], [0.0, 3.0]]);
/// let rows = Rows::new(states.view())?;
/// let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &Device::flex())?;
/// let closest = search.closest_pairs(1, &mut |_| ())?;
/// assert_eq!(closest.minimum(), Some(Pair { a: 1, b: 2, distance: 0.25 }));
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
    /// Takes the rows and the choice of pairs. `device` computes the products that the processor does not.
    ///
    /// # Errors
    ///
    /// [`CollisionError::LabelCount`] when the labels of the pairs are not one for each row,
    /// [`CollisionError::NoDirection`] for a row of zeros under [`Metric::Cosine`],
    /// [`CollisionError::BudgetTooSmall`], [`CollisionError::InexactDevice`], [`CollisionError::Device`].
    pub fn new(
        rows: &'a Rows<'a>,
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
            Arithmetic::I16OnProcessor => Kernel::detect(),
        };
        let multiplier = Multiplier { device: device.clone(), kernel };
        let search = Search { points, pairs, pair_count, memory_budget, multiplier };
        search.check_budget(Plan::smallest(rows.columns()))?;
        Ok(search)
    }

    /// How many pairs count.
    pub fn pair_count(&self) -> u64 {
        self.pair_count
    }

    /// The `k` closest pairs; the first of them is the global minimum.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub fn closest_pairs(
        &self,
        k: usize,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<ClosestPairs, CollisionError> {
        let mut closest = ClosestPairs::keeping(k);
        if k > 0 {
            self.ask(&mut closest, Reach::Closest, progress)?;
        }
        closest.decided = self.pair_count;
        Ok(closest)
    }

    /// Every row's nearest neighbour.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub fn nearest_neighbours(
        &self,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<Neighbours, CollisionError> {
        let mut neighbours = Neighbours::of(self.points.rows.rows());
        self.ask(&mut neighbours, Reach::Neighbour, progress)?;
        neighbours.decided = self.pair_count;
        Ok(neighbours)
    }

    /// How many pairs lie below each threshold.
    ///
    /// It is quick for thresholds among the smallest distances. For one among the bulk of them,
    /// [`Search::distribution`] is the better question.
    ///
    /// # Errors
    ///
    /// [`CollisionError::InvalidThreshold`], [`CollisionError::Device`].
    pub fn count_below(
        &self,
        thresholds: &[f64],
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<PairsBelow, CollisionError> {
        let mut below = PairsBelow::of(thresholds)?;
        let farthest = thresholds.iter().copied().fold(0.0, f64::max);
        self.ask(&mut below, Reach::Fixed(self.points.metric().to_points(farthest)), progress)?;
        below.decided = self.pair_count;
        Ok(below)
    }

    /// The distribution of all distances, or of a sample.
    ///
    /// # Errors
    ///
    /// [`CollisionError::BudgetTooSmall`] when all coordinates of all rows in f32 do not fit and every pair was asked for,
    /// [`CollisionError::Device`].
    pub fn distribution(
        &self,
        coverage: Coverage,
        progress: &mut dyn FnMut(SearchProgress),
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

    /// Rows that are equal number by number although they belong to different prompts.
    pub fn equal_rows(&self) -> Vec<EqualRows> {
        equal_rows(self.points.rows, self.pairs)
    }

    /// Draws pairs evenly among those that count: none if none does.
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
        reach: Reach,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<(), CollisionError> {
        let d = self.points.rows.columns();
        let position = Position::of(&self.points);
        let axes = match reach {
            Reach::Closest => AXES_FOR_FEW_PAIRS,
            Reach::Neighbour | Reach::Fixed(_) => AXES,
        };
        let axes = Axes::principal(&self.points, &position, axes.min(d));
        let plan =
            Plan::choose(&self.points, &position, &axes, reach, &self.multiplier, |plan| self.fits(plan));
        let index = match plan {
            Plan::Whole => self.whole(&position, &self.multiplier),
            Plan::Principal { lead, cascade } => {
                let axes = axes.first(cascade);
                Index::along(
                    &self.points,
                    &position,
                    &axes,
                    lead,
                    self.block(),
                    self.labels(),
                    &self.multiplier,
                )
            }
        };
        sweep(self.scan(&index), question, TILES_AT_ONCE, &mut |share| progress(self.progress(share)))?;
        progress(self.progress(1.0));
        Ok(())
    }

    /// Bytes that an index by this plan and the tiles take.
    fn needed(&self, plan: Plan) -> usize {
        let tiles = TILES_AT_ONCE * self.block() * self.block() * 4 * 2;
        plan.bytes(self.points.rows.rows(), self.points.rows.columns()).saturating_add(tiles)
    }

    fn fits(&self, plan: Plan) -> bool {
        self.needed(plan) <= self.memory_budget
    }

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

    fn progress(&self, share: f64) -> SearchProgress {
        SearchProgress { pairs_done: (share * self.pair_count as f64) as u64, pairs: self.pair_count }
    }

    fn whole(&self, position: &Position, multiplier: &Multiplier) -> Index {
        Index::whole(&self.points, position, self.block(), self.labels(), multiplier)
    }

    /// Rows in a block.
    fn block(&self) -> usize {
        (self.points.rows.rows() / 8).next_power_of_two().clamp(SMALLEST_BLOCK, LARGEST_BLOCK)
    }

    /// By what the rows are to be sorted first, so that whole blocks hold no pair that counts.
    fn labels(&self) -> Option<&[u32]> {
        match self.pairs {
            Pairs::Within(labels) => Some(labels),
            Pairs::All | Pairs::Across(_) => None,
        }
    }

    fn scan<'s>(&'s self, index: &'s Index) -> Scan<'s> {
        Scan { points: &self.points, pairs: self.pairs, index }
    }
}
