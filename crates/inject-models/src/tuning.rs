//! The tuned constants of the crate, each with the benchmark of `inject-benches` that shows its effect.
//!
//! They decide how a state is computed, and so its speed and the memory that it takes. Only the first two change its last digits, because they
//! change the order of sums.

// The order of sums. docs/numerics.md, section 3, has the rounding errors with and without.

/// The most rows whose products are summed in pieces. Shown by `step`.
pub(crate) const FEW_ROWS: usize = 28;
/// The longest of these pieces. Shown by `step`.
pub(crate) const LONGEST_RUN: usize = 192;

// The division of work among threads.

/// A pass of fewer rows has more, and shorter, pauses between its products than a thread takes to fall asleep and wake up. Shown by `step`
/// and `candidates`.
pub(crate) const POOL_MOST_ROWS: usize = 32;
/// Fewer rows than this are not worth a thread. Shown by `candidates`.
pub(crate) const LANE_FEWEST_ROWS: usize = 16;
/// The hidden layer of more rows than this does not stay in the processor's cache between two elementwise passes. Shown by `forward`.
pub(crate) const LANE_MOST_ROWS: usize = 256;
/// The positions of a long run whose scores are computed at once. Shown by `forward`.
pub(crate) const SCORES_TOGETHER: usize = 128;
/// The largest mask that is kept for all blocks, in bytes. A larger one is made piece by piece, in less than a hundredth of the time
/// that the scores of the piece take. Otherwise the memory of a pass would grow with the square of its length. Shown by `forward`.
pub(crate) const LARGEST_MASK: usize = 1 << 24;

// Products with matrices in mapped files.

/// Fewer products than this are not worth a second thread. Shown by `products`.
pub(crate) const FEWEST_PRODUCTS: usize = 1 << 17;
/// Rows that one thread widens at a time. Fewer are not worth a second thread. Shown by `products`.
pub(crate) const DECODED_TOGETHER: usize = 64;
/// With at least this many rows, a panel that is stored output by output is widened once for all of them. Shown by `products`.
pub(crate) const FEWEST_ROWS: usize = 64;
/// The most products of a row that is stored output by output that are summed in one go. A group of rows of this width, and the weights beside
/// it, stay in the nearest cache. Shown by `products`.
pub(crate) const CHUNK_BY_OUTPUT: usize = 640;
/// The products of a row that is stored input by input that are summed in one chain of additions. Shown by `products`.
pub(crate) const CHUNK_BY_INPUT: usize = 256;
/// Blocks that are read from the disk ahead of the one that is computed. Shown by `sizes`, with a model larger than the memory.
pub(crate) const BLOCKS_AHEAD: usize = 2;
