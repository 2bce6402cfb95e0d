//! The JSON of types of the crates below, for the schemas of the results that contain them.
#![expect(dead_code, reason = "these types stand for others in a schema and have no values")]

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Returns a member that is always there, and null where nothing was measured.
fn number_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "null"], "format": "double" })
}

/// A tap: `embedding`, `block-N` or `final-norm`.
#[derive(JsonSchema)]
pub(crate) struct Tap(String);

/// A number format by name, such as `bf16`, `int8` or `nf4`.
#[derive(JsonSchema)]
pub(crate) struct NumberFormat(String);

/// A disturbance of states, such as `bf16`, `int8-row`, `noise:0.5`, `dropout:0.1` or `clip:3`.
#[derive(JsonSchema)]
pub(crate) struct Disturbance(String);

/// A rule for the token BOS before each prompt: `auto`, `yes` or `no` for prompts from text, `as given` for token ids.
#[derive(JsonSchema)]
pub(crate) struct BosPolicy(String);

/// The largest distances seen between two computations of the same state: of the study's own prompts, computed alone and in
/// another way.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct NoiseFloor {
    /// Computed in a batch with other prompts. Null if every prompt was alone in its batch, or was computed there by the same
    /// operations.
    #[schemars(schema_with = "number_or_null")]
    batched: Option<f64>,
    /// Computed as one of many candidates after a cached prefix. Null if every prompt was computed there by the same operations, as
    /// prompts of one token are.
    #[schemars(schema_with = "number_or_null")]
    cached: Option<f64>,
    /// Computed on another device. Null if there was none.
    #[schemars(schema_with = "number_or_null")]
    other_device: Option<f64>,
}

/// A comparison of the smallest distance between the states of different prompts with the noise of computing.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(crate) enum Resolution {
    /// The noise was not measured, and the smallest distance is not zero.
    NoiseUnknown,
    /// The smallest distance is more than twice the noise floor.
    Separated,
    /// The smallest distance is at most twice the noise floor: rounding could explain it.
    AtTheNoiseFloor,
    /// States of different token ids are equal in every number.
    Collision,
}

/// Two states and their distance.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Pair {
    /// The first row, counted from 0.
    a: usize,
    /// The second row, which comes after the first.
    b: usize,
    /// The L2 distance in f64.
    distance: f64,
}

/// States of different prompts that are equal in every number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct EqualRows {
    /// The rows in ascending order, counted from 0.
    rows: Vec<usize>,
    /// The number of pairs among them that count.
    pairs: u64,
}

/// The pairs that a distribution counts.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(crate) enum Coverage {
    /// All pairs are counted.
    Exact,
    /// A sample of pairs, drawn evenly and with replacement.
    Sampled {
        /// The number of pairs drawn.
        pairs: u64,
        /// The seed of the draw.
        seed: u64,
    },
}

/// The separation of different prompts at a tap.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Separation {
    /// The smallest distance between the states of two different prompts.
    margin: f64,
    /// An upper bound of the co-Lipschitz constant: the smallest ratio of the distance of two states to the number of positions at
    /// which their prompts differ.
    co_lipschitz: f64,
}

/// The shape of the cloud of states of one tap.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Geometry {
    /// The mean L2 norm of a state.
    mean_norm: f64,
    /// The mean cosine of the angle between two different states.
    #[schemars(schema_with = "number_or_null")]
    anisotropy: Option<f64>,
    /// The intrinsic dimension of a sample of the states.
    #[schemars(schema_with = "number_or_null")]
    intrinsic_dimension: Option<f64>,
    /// The number of states in the sample.
    dimension_sample: usize,
}
