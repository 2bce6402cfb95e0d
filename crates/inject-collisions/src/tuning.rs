//! The constants that decide how long a search takes. They never change what it answers.
//!
//! `cargo bench -p inject-benches --bench distances` measures the effect of each again, on Gaussian rows and, with
//! `INJECT_STORE`, on the states of a store. The times are nanoseconds of one Zen 4 core.

/// Most rows of a block: enough for products at the full rate, few enough for the products of two blocks to stay in cache.
pub(crate) const LARGEST_BLOCK: usize = 512;
/// Fewest rows of a block. Not measured: small data makes several blocks, and so takes the same path as large data.
pub(crate) const SMALLEST_BLOCK: usize = 16;
/// Tiles that are scanned between two updates of the radii of the rows: a megabyte of products each.
pub(crate) const TILES_AT_ONCE: usize = 16;
/// Tiles whose products are requested from the device at once, so that they are still in a cache when they are scanned.
pub(crate) const TILES_A_CALL: usize = 4;

/// Principal axes for questions about each row's nearest neighbour.
pub(crate) const AXES: usize = 192;
/// Principal axes for the closest pairs: so few pairs are left that more axes would take longer to find than they save.
pub(crate) const AXES_FOR_FEW_PAIRS: usize = 32;
/// Rows that the principal axes are fitted to.
pub(crate) const AXES_SAMPLE: usize = 2048;
/// Rounds of the subspace iteration that finds the axes.
pub(crate) const AXES_ROUNDS: usize = 3;
/// Coordinates by which rows are put into blocks of near ones.
pub(crate) const SPATIAL_AXES: usize = 16;

/// Numbers of leading coordinates that a plan may choose from.
pub(crate) const LEADS: [usize; 8] = [8, 16, 32, 48, 64, 80, 96, 128];
/// Rows of the sample that a plan looks from.
pub(crate) const PLAN_FROM: usize = 192;
/// Rows of the sample that a plan looks at.
pub(crate) const PLAN_AT: usize = 4096;

/// Nanoseconds of one core for one coordinate of a product of integers (VNNI).
pub(crate) const COORDINATE_I16: f64 = 0.0085;
/// The same for a product in f32 on the device.
pub(crate) const COORDINATE_F32: f64 = 0.018;
/// Nanoseconds for comparing a product of integers.
pub(crate) const COMPARISON_I16: f64 = 0.2;
/// The same for a product in f32 from the device.
pub(crate) const COMPARISON_F32: f64 = 0.7;
/// Nanoseconds of the cascade for each pair of the plan's sample that is left. A quarter as many are left among all rows, whose
/// neighbours are nearer.
pub(crate) const CASCADE: f64 = 7.0;
/// Nanoseconds for one distance computed directly.
pub(crate) const DIRECT: f64 = 250.0;
