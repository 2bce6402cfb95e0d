//! The constants that determine the duration of a search, and never change its answer, and the size of a sample of noise.
//!
//! `cargo bench -p inject-benches --bench distances` measures the effect of each, on Gaussian rows and, with `INJECT_STORE`, on
//! the states of a store. Times are nanoseconds of one Zen 4 core.

/// The largest number of rows in a block: enough for products at the full rate, and few enough that the products of two blocks
/// stay in cache.
pub(crate) const LARGEST_BLOCK: usize = 512;
/// The smallest number of rows in a block. It is not tuned. It makes small data form several blocks and so take the same path as
/// large data.
pub(crate) const SMALLEST_BLOCK: usize = 16;
/// The number of tiles scanned between two updates of the rows' radii. Each tile has a megabyte of products.
pub(crate) const TILES_AT_ONCE: usize = 16;
/// The number of tiles whose products are requested from the device at once, so that they are still in cache when they are
/// scanned.
pub(crate) const TILES_A_CALL: usize = 4;

/// The number of principal axes for questions about each row's nearest neighbour.
pub(crate) const AXES: usize = 192;
/// The number of principal axes for the closest pairs. So few pairs remain that finding more axes would take longer than it saves.
pub(crate) const AXES_FOR_FEW_PAIRS: usize = 32;
/// The number of rows to which the principal axes are fitted.
pub(crate) const AXES_SAMPLE: usize = 2048;
/// The number of rounds of the subspace iteration that finds the axes.
pub(crate) const AXES_ROUNDS: usize = 3;
/// The number of coordinates by which near rows are put into the same block.
pub(crate) const SPATIAL_AXES: usize = 16;

/// The numbers of leading coordinates from which a plan is chosen.
pub(crate) const LEADS: [usize; 8] = [8, 16, 32, 48, 64, 80, 96, 128];
/// The number of rows in the first sample of a plan. Pairs of these with the second sample are examined.
pub(crate) const PLAN_FROM: usize = 192;
/// The number of rows in the second sample of a plan.
pub(crate) const PLAN_AT: usize = 4096;

/// The time of one core for one coordinate of a product of integers (VNNI), in nanoseconds.
pub(crate) const COORDINATE_I16: f64 = 0.0085;
/// The time for one coordinate of a product in f32 on the device, in nanoseconds.
pub(crate) const COORDINATE_F32: f64 = 0.018;
/// The time for comparing a product of integers, in nanoseconds.
pub(crate) const COMPARISON_I16: f64 = 0.2;
/// The time for comparing a product in f32 from the device, in nanoseconds.
pub(crate) const COMPARISON_F32: f64 = 0.7;
/// The time of the cascade for each remaining pair of the plan's sample, in nanoseconds. Among all rows, a quarter as many pairs
/// remain, because their neighbours are nearer.
pub(crate) const CASCADE: f64 = 7.0;
/// The time for one directly computed distance, in nanoseconds.
pub(crate) const DIRECT: f64 = 250.0;

/// The number of candidates that are computed together with the one whose noise is measured: a batch as those of the inverter. It is not
/// tuned.
pub(crate) const NOISE_BATCH_OTHERS: usize = 63;

/// The number of embeddings that are widened and compared together, at most 128 MB at a width of 8,192. It is not tuned.
pub(crate) const EMBEDDINGS_TOGETHER: usize = 4096;
