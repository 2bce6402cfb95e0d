//! Questions about the distances of all pairs of rows.

use burn::tensor::Device;

use crate::{
    ClosestPairs, CollisionError, Coverage, Distribution, EqualRows, Metric, Neighbour, Neighbours, Pair,
    Pairs, PairsBelow, Rows, equal::equal_rows, metric::Points,
};

/// What is meant by a distance, and how much memory may be used to find the small ones.
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
    /// How much may be used beside the rows themselves.
    ///
    /// # Units
    ///
    /// Bytes.
    pub memory_budget: usize,
}

impl Default for SearchOptions {
    /// L2, and 2 GiB.
    fn default() -> Self {
        SearchOptions { metric: Metric::L2, memory_budget: 2 << 30 }
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
}

impl<'a> Search<'a> {
    /// Takes the rows and the choice of pairs. `device` computes the products.
    ///
    /// # Errors
    ///
    /// [`CollisionError::LabelCount`] when the labels of the pairs are not one for each row,
    /// [`CollisionError::NoDirection`] for a row of zeros under [`Metric::Cosine`],
    /// [`CollisionError::BudgetTooSmall`].
    pub fn new(
        rows: &'a Rows<'a>,
        pairs: &'a Pairs,
        options: SearchOptions,
        device: &Device,
    ) -> Result<Self, CollisionError> {
        let _ = device;
        pairs.check(rows)?;
        let points = Points::new(rows, options.metric)?;
        Ok(Search { points, pairs, pair_count: pairs.count(rows) })
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
        self.each_pair(progress, |a, b, distance| closest.push(Pair { a, b, distance }));
        (closest.decided, closest.computed) = (self.pair_count, self.pair_count);
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
        self.each_pair(progress, |a, b, distance| {
            neighbours.push(a, Neighbour { row: b, distance });
            neighbours.push(b, Neighbour { row: a, distance });
        });
        (neighbours.decided, neighbours.computed) = (self.pair_count, self.pair_count);
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
        self.each_pair(progress, |_, _, distance| below.push(distance));
        (below.decided, below.computed) = (self.pair_count, self.pair_count);
        Ok(below)
    }

    /// The distribution of all distances, or of a sample.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub fn distribution(
        &self,
        coverage: Coverage,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<Distribution, CollisionError> {
        let mut distribution = Distribution::of(coverage);
        match coverage {
            Coverage::Exact => {
                self.each_pair(progress, |_, _, distance| distribution.add(Distribution::bin(distance), 1));
            }
            Coverage::Sampled { pairs, seed } => self.sample(pairs, seed, |distance| {
                distribution.add(Distribution::bin(distance), 1);
            }),
        }
        distribution.computed = distribution.pairs;
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
        let mut state = seed;
        let mut left = if self.pair_count == 0 { 0 } else { pairs };
        while left > 0 {
            let [a, b] = [(); 2].map(|()| (u128::from(split_mix(&mut state)) * u128::from(n) >> 64) as usize);
            if a != b && self.pairs.admit(self.points.rows, a, b) {
                take(self.points.distance(a, b, &mut buffers));
                left -= 1;
            }
        }
    }

    fn each_pair(&self, progress: &mut dyn FnMut(SearchProgress), mut take: impl FnMut(usize, usize, f64)) {
        let n = self.points.rows.rows();
        let mut buffers = [Vec::new(), Vec::new()];
        let mut pairs_done = 0;
        for a in 0..n {
            for b in a + 1..n {
                if self.pairs.admit(self.points.rows, a, b) {
                    take(a, b, self.points.distance(a, b, &mut buffers));
                    pairs_done += 1;
                }
            }
            progress(SearchProgress { pairs_done, pairs: self.pair_count });
        }
    }
}

/// # Source
///
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, as in java.util.SplittableRandom.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
