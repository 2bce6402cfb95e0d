//! The tuned constants of the crate, each with the command that measures it.
//!
//! None of them changes a state: a row has the same product on every path.

/// The rows from which on the weights of a panel that is stored output by output are widened once for all of them.
pub(crate) const FEWEST_ROWS: usize = 64;
