//! Certified distances between hidden states: nearest, runner-up, margin.
//!
//! The one idea: fast arithmetic only excludes pairs, by bounds that hold for any data, and every reported distance is computed
//! directly, in f64, from the two states. The usual shortcut through norms and products returns 0 for a true distance of 0.1 on
//! real states.
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
//! - [`StateRows`]: the states of one tap, in memory or in a store, each with the identity of its prompt.
//! - [`Search`]: answers questions about all [`Pairs`] of rows. The answers are [`ClosestPairs`], [`NearestNeighbours`],
//!   [`ThresholdCounts`], a [`Distribution`] (its [`Coverage`] says whether all pairs were counted) and [`EqualRows`]. Of the
//!   [`SearchOptions`], the [`Arithmetic`] affects the time and not the answers.
//! - [`PairTile`]: a piece of the search for the closest pairs, for another process.
//! - [`measure_noise_floors`], [`NoiseFloor`], [`Resolution`]: whether a smallest distance is more than rounding.
//! - [`geometry`]: the shape of the whole cloud of states, as a [`Geometry`] and a [`Separation`].
//! - [`Ranking`]: the nearest candidates (each a [`Ranked`]), their margin, and how many were tested.
//! - [`tokens_with_equal_embeddings`]: tokens that no state can distinguish.
//! - [`approximate_products`], [`spatial_order`]: fast methods to choose the few rows whose exact distances matter.
//! - [`CollisionError`]: every failure of a search or a measurement of distances.
//!
//! The crates that this one builds on are re-exported as the modules [`models`] and [`states`]. An application has to depend on
//! `burn` itself only to enable a backend.
//!
//! # Features
//!
//! All are off by default: `hub`, `gradient`, `training` and `parquet` enable the features of the same names of `inject-states`.

pub mod answers;
pub mod approximate_products;
pub mod geometry;
pub mod noise_floor;
pub mod spatial_order;

mod distance;
mod equal_embeddings;
mod error;
mod integer_products;
mod metric;
mod pairs;
mod ranking;
mod resolution;
mod rows;
mod search;
mod tiles;
mod tuning;

#[doc(no_inline)]
pub use burn;
#[doc(no_inline)]
pub use inject_states as states;
#[doc(no_inline)]
pub use inject_states::models;
#[doc(no_inline)]
pub use ndarray;

#[doc(inline)]
pub use self::{
    answers::{
        ClosestPairs, Coverage, Distribution, EqualRows, NearestNeighbours, Neighbour, Pair, ThresholdCounts,
    },
    distance::{distance, norm, weighted_distance},
    equal_embeddings::tokens_with_equal_embeddings,
    error::CollisionError,
    geometry::{Geometry, Separation},
    metric::Metric,
    noise_floor::{NoiseFloor, measure_noise_floors},
    pairs::Pairs,
    ranking::{Ranked, Ranking},
    resolution::Resolution,
    rows::{StateRows, identities},
    search::{Arithmetic, Search, SearchOptions},
    tiles::PairTile,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
