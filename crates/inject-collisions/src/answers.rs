//! The answers of a [`Search`](crate::Search).
//!
//! [`ClosestPairs`] and [`ThresholdCounts`] of disjoint sets of pairs merge into those of all of them.

mod closest_pairs;
mod distribution;
mod equal_rows;
mod nearest_neighbours;
mod threshold_counts;

pub(crate) use self::equal_rows::{equal_rows, hash_of_row};
pub use self::{
    closest_pairs::{ClosestPairs, Pair},
    distribution::{Coverage, Distribution, Interval},
    equal_rows::EqualRows,
    nearest_neighbours::{NearestNeighbours, Neighbour},
    threshold_counts::{ThresholdCount, ThresholdCounts},
};
