//! The tuned constants of the crate, each with the command that measures it.
//!
//! None of them changes a state: a row has the same product on every path.

/// With at least this many rows, a panel that is stored output by output is widened once for all of them.
pub(crate) const FEWEST_ROWS: usize = 64;
