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
//! - [`distance`], [`weighted_distance`], [`norm`]: L2 in f64.
//! - [`Ranking`]: the nearest candidates, their margin, and how many were tested.
//!
//! Everything of `inject-states` is re-exported, so that one dependency is enough.

mod distance;
mod ranking;

pub use inject_states;
pub use inject_states::*;

pub use self::{
    distance::{distance, norm, weighted_distance},
    ranking::{Ranked, Ranking},
};
