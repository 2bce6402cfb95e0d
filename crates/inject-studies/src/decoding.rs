//! One-step decoding: is the true token's state still the nearest if the given state was disturbed or computed by another model?

mod position;
mod projection;
mod result;
mod summary;

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, SearchOptions, measure_noise_floors},
    models::{Decoder, Tap},
    states::Disturbance,
};

pub use self::result::{DecodingStudy, LostPosition, Projected, Survival, TapDecoding, View};
use self::{position::Measuring, projection::Projection, summary::summarise};
use crate::{
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    positions::ChosenPositions,
    run::{Finished, Run},
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
    .computed_by(decoder)
    .within_memory(options.memory_budget);
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
