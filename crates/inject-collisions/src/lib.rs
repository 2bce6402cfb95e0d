//! Certified distances between hidden states: nearest, runner-up, margin.
//!
//! The one idea: a distance that is reported was computed directly, in f64, from the two states. Shorter ways through norms
//! and products report 0 for a true 0.1 on real states.
//!
//! ```
//! use inject_collisions::{Ranking, distance};
//!
//! let target = [1.0_f64, 2.0, 2.0];
//! let states = [[1.0_f32, 2.0, 2.5], [0.0, 0.0, 0.0]];
//! let mut ranking = Ranking::keeping(2);
//! for (id, state) in states.iter().enumerate() {
//!     ranking.push(id as u32, distance(&target, state));
//! }
//! assert_eq!(ranking.margin(), Some(2.5));
//! ```
//!
//! - [`distance`], [`weighted_distance`], [`norm`]: L2 in f64. [`Metric`]: L2 or cosine.
//! - [`Rows`]: the states of one tap, in memory or in a store, each with the identity of its prompt.
//! - [`Search`]: questions about all [`Pairs`] of them: [`ClosestPairs`], [`Neighbours`], [`PairsBelow`],
//!   [`Distribution`], [`EqualRows`].
//! - [`measure_noise_floors`], [`Verdict`]: what a smallest distance means. [`Geometry`], [`Separation`]: the cloud as a whole.
//! - [`twins`]: tokens that no state can tell apart.
//! - [`CoarseRows`]: products of a few points with many rows, in as few digits as their order needs.
//! - [`Ranking`]: the nearest candidates, their margin, and how many were tested.
//!
//! Everything of `inject-states`, and so of `inject-models`, is re-exported, `burn` included. Beside this crate only `burn` need be a
//! dependency, to switch on a backend.

mod below;
mod closest;
mod coarse_rows;
mod distance;
mod distribution;
mod equal;
mod error;
mod geometry;
mod metric;
mod neighbours;
mod noise_floor;
mod pairs;
mod prompt_distance;
mod ranking;
mod rows;
mod search;
mod twins;
mod verdict;
mod whole_numbers;

pub use inject_states;
pub use inject_states::*;

pub use self::{
    below::{Below, PairsBelow},
    closest::{ClosestPairs, Pair},
    coarse_rows::{CoarsePoints, CoarseRows, Digits},
    distance::{distance, norm, weighted_distance},
    distribution::{Bracket, Coverage, Distribution},
    equal::EqualRows,
    error::CollisionError,
    geometry::{Geometry, anisotropy, intrinsic_dimension},
    metric::Metric,
    neighbours::{Neighbour, Neighbours},
    noise_floor::{NoiseFloor, measure_noise_floors},
    pairs::Pairs,
    prompt_distance::{Separation, prompt_distance},
    ranking::{Ranked, Ranking},
    rows::{Rows, identities},
    search::{Arithmetic, Search, SearchOptions, SearchProgress, near_together},
    twins::twins,
    verdict::Verdict,
};
