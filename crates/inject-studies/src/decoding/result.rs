//! The result of the study.

use inject_sipit::{collisions::NoiseFloor, models::Tap};

use crate::{completeness::Completeness, tap_distances::Quantile};

/// The result of [`decoding`](super::decoding()): the tokens that nearest-state decoding gives over the whole vocabulary, after the true prefix.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct DecodingStudy {
    /// The number of tokens that each true token was compared with.
    pub others: usize,
    /// The number of positions measured at each tap.
    pub positions: usize,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapDecoding>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The margins at one tap, and the effect of every change that was tried.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapDecoding {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The noise floor of the tap.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Quantiles of the norms of the true states.
    pub norms: Vec<Quantile>,
    /// Quantiles of the margins: the distance from the true token's state to the nearest other one.
    pub margins: Vec<Quantile>,
    /// Quantiles of the norm at which noise in a random direction first brings another token nearer, exact along that direction.
    pub breaking: Vec<Quantile>,
    /// The same norms as multiples of half the position's margin. By Theorem 3.2 no multiple is below 1.
    pub breaking_over_half_margin: Vec<Quantile>,
    /// The share of positions and directions that survive noise of each size.
    pub survival: Vec<Survival>,
    /// The states that were disturbed, or produced by another model.
    pub views: Vec<View>,
    /// The margins in fewer dimensions.
    pub projections: Vec<Projected>,
}

/// A point of the curve of recovery against noise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Survival {
    /// The norm of the noise as a share of the position's own margin; one half is the bound of Theorem 3.2.
    pub noise_over_margin: f64,
    /// The share of positions and directions at which the true token's state is still the nearest.
    pub recovered: f64,
}

/// Nearest-state decoding of changed states: the number of positions at which the true token is still the nearest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct View {
    /// The disturbance, or the producer.
    pub name: String,
    /// The number of positions measured.
    pub positions: usize,
    /// The number of positions at which no other token's state is nearer than the true one's. At the others, no decoder that
    /// takes the nearest state can find the token.
    pub recovered: usize,
    /// The number of first positions of prompts, where rotary models without BOS have their attention sink.
    pub first: usize,
    /// The number of first positions at which the true token is the nearest.
    pub recovered_first: usize,
    /// The number of positions at which the state moved by less than half the margin, so that Theorem 3.2 guarantees recovery.
    pub within_half_margin: usize,
    /// The number of positions at which the true token was the nearest although no bound guaranteed it.
    pub recovered_beyond: usize,
    /// Quantiles of the distances by which the states moved.
    pub errors: Vec<Quantile>,
    /// Quantiles of these distances as multiples of half the margin.
    pub errors_over_half_margin: Vec<Quantile>,
    /// Quantiles of the number of tokens that are nearer than the true one.
    pub nearer: Vec<Quantile>,
    /// The first positions at which another token is nearer, at most eight.
    pub lost: Vec<LostPosition>,
}

/// A position at which another token's state is nearer.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct LostPosition {
    /// Number of the prompt in the given list, from 0.
    pub prompt: usize,
    /// The position, counted from 0.
    pub position: usize,
    /// The id of the true token.
    pub token: u32,
    /// The token whose state is the nearest.
    pub nearest: u32,
    /// The distance of that state from the changed state.
    pub distance: f64,
    /// The distance of the true token's state from the changed state.
    pub error: f64,
}

/// Nearest-state decoding with only a projection of the states onto a random subspace.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Projected {
    /// The number of dimensions of the random subspace.
    pub dimensions: usize,
    /// Quantiles of the margin within it.
    pub margins: Vec<Quantile>,
    /// The number of positions at which that margin exceeds twice the noise floor.
    pub separated: usize,
}
