//! One-step decoding: is the true token's state still the nearest if the given state was disturbed or computed by another model?

mod position;
mod projection;
mod summary;

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, NoiseFloor, SearchOptions, measure_noise_floors},
    models::{Decoder, Tap},
    states::Disturbance,
};

use self::{position::Measuring, projection::Projection, summary::summarise};
use crate::{
    completeness::Completeness,
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    positions::ChosenPositions,
    run::{Finished, Run},
    tap_distances::Quantile,
    tuning::NOISE_SAMPLE,
};

/// The taps, positions, disturbances and directions that [`decoding`] examines.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct DecodingOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The positions that are measured.
    #[serde(flatten)]
    pub positions: ChosenPositions,
    /// The disturbances. The states of a prompt are disturbed together.
    pub disturbances: Vec<Disturbance>,
    /// The number of random directions of noise at each position. The breaking point is measured along each.
    pub directions: usize,
    /// The dimensions of the random subspaces onto which states are projected.
    pub dimensions: Vec<usize>,
    /// The seed of disturbances, directions and projections.
    pub seed: u64,
    /// The memory that one batch may use, in bytes.
    #[serde(skip)]
    pub memory_budget: usize,
}

impl DecodingOptions {
    /// Creates options to measure only margins at these taps and positions. The other fields add further measurements.
    pub fn new(taps: Vec<Tap>, positions: ChosenPositions) -> Self {
        DecodingOptions {
            taps,
            positions,
            disturbances: Vec::new(),
            directions: 0,
            dimensions: Vec::new(),
            seed: 0,
            memory_budget: SearchOptions::default().memory_budget,
        }
    }
}

/// A model whose states are compared with those of the decoder of the study.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Producer<'a> {
    /// The name of the model in the results.
    pub name: &'a str,
    /// The decoder that produces the states.
    pub decoder: &'a Decoder,
}

impl<'a> Producer<'a> {
    /// Names a decoder as a producer of states.
    pub fn new(name: &'a str, decoder: &'a Decoder) -> Self {
        Producer { name, decoder }
    }
}

/// The result of [`decoding`]: the tokens that nearest-state decoding gives over the whole vocabulary, after the true prefix.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Survival {
    /// The norm of the noise as a share of the position's own margin; one half is the bound of Theorem 3.2.
    pub noise_over_margin: f64,
    /// The share of positions and directions at which the true token's state is still the nearest.
    pub recovered: f64,
}

/// Nearest-state decoding of changed states: the number of positions at which the true token is still the nearest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct LostPosition {
    /// Number of the prompt in the list given, from 0.
    pub prompt: usize,
    /// The position, counted from 0.
    pub position: usize,
    /// The token that stands there.
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Projected {
    /// The number of dimensions of the random subspace.
    pub dimensions: usize,
    /// Quantiles of the margin within it.
    pub margins: Vec<Quantile>,
    /// The number of positions at which that margin exceeds twice the noise floor.
    pub separated: usize,
}

/// One position at one tap, as the journal records it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Measured {
    position: usize,
    token: u32,
    norm: f64,
    margin: f64,
    /// The breaking point along each direction. `None` if no token lies in that direction.
    breaking: Vec<Option<f64>>,
    /// The comparison for each view.
    views: Vec<Seen>,
    /// The margin in a subspace of each number of dimensions.
    projected: Vec<f64>,
}

/// One view of one position.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Seen {
    /// The distance of the true token's state from the view.
    error: f64,
    /// The number of tokens whose states are nearer.
    nearer: usize,
    /// The nearest of those tokens, and its distance.
    nearest: Option<(u32, f64)>,
}

/// Computes the states of all tokens at chosen positions of prompts, after the true prefix. Counts for each view of the true state
/// how many of them are nearer than the true token's state. The result is a certificate, because no token is left out.
///
/// Along a direction `u`, noise of norm `s` moves the state `h` to `h + s u`. Another token's state `c` is then nearer if `|c -
/// h|^2 < 2 s (c - h).u`. So the breaking point along `u` is the smallest `|c - h|^2 / (2 (c - h).u)` over all tokens with a
/// positive product. By the Cauchy-Schwarz inequality it is at least `|c - h| / 2`: half the margin, the bound of Theorem 3.2.
/// Only noise in the direction of the nearest token reaches that bound. One pass over the vocabulary gives the breaking point
/// exactly, so no trial with noise of some size is needed.
///
/// A unit of the study is a prompt. `model` identifies the weights in the journal. `producers` are other models that produce
/// states of the same prompts, which are compared with the states of `decoder`.
///
/// # Errors
///
/// [`StudyError`] if there are no prompts, a projection has more dimensions than a state, a decoder refuses a prompt or a tap, or
/// the journal belongs to another study.
///
/// # Source
///
/// Theorem 3.2: arXiv 2510.15511, version 4.
pub fn decoding(
    decoder: &Decoder,
    model: &str,
    producers: &[Producer<'_>],
    prompts: &[Vec<u32>],
    options: &DecodingOptions,
    run: Run<'_>,
) -> Result<DecodingStudy, StudyError> {
    options.positions.check(prompts)?;
    let d_model = decoder.config().d_model;
    if let Some(&found) = options.dimensions.iter().find(|&&found| found == 0 || found > d_model) {
        return Err(StudyError::Dimensions { found, d_model });
    }
    let names: Vec<&str> = producers.iter().map(|producer| producer.name).collect();
    let about = Description::new(
        StudyName::Decoding,
        serde_json::json!({ "model": model, "producers": names, "prompts": fingerprint(prompts),
            "options": options,
        }),
    )
    .computed_by(decoder);
    let device = decoder.device();
    let projections: Vec<Projection> = options
        .dimensions
        .iter()
        .map(|&dimensions| Projection::random(d_model, dimensions, options.seed, &device))
        .collect();
    let measuring = Measuring { decoder, producers, options, projections: &projections };
    let Finished { results: measured, completeness } =
        run.complete(&about, (0..prompts.len()).collect(), |&prompt, done| {
            measuring.prompt(prompt, &prompts[prompt], done)
        })?;
    let mut by_tap: BTreeMap<Tap, Vec<(usize, Measured)>> = BTreeMap::new();
    for (prompt, of_prompt) in measured {
        for (tap, of_tap) in of_prompt {
            by_tap.entry(tap).or_default().extend(of_tap.into_iter().map(|measured| (prompt, measured)));
        }
    }
    let taps: Vec<Tap> = by_tap.keys().copied().collect();
    let noise = match taps.is_empty() {
        true => BTreeMap::new(),
        false => measure_noise_floors(Metric::L2, decoder, None, &taps, prompts, NOISE_SAMPLE)?,
    };
    let views: Vec<String> = options
        .disturbances
        .iter()
        .map(Disturbance::to_string)
        .chain(names.iter().map(|name| (*name).to_owned()))
        .collect();
    Ok(DecodingStudy {
        others: decoder.config().vocab_size.saturating_sub(1),
        positions: by_tap.values().next().map_or(0, Vec::len),
        taps: by_tap
            .into_iter()
            .map(|(tap, measured)| summarise(tap, noise[&tap], &measured, &views, &options.dimensions))
            .collect(),
        completeness,
    })
}
