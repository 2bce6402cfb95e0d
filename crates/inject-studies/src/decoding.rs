//! One-step decoding: is the true token's state still the nearest, once the state at hand is not the one computed?

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
use super::{Quantile, Run, StudyError};
use crate::{
    completeness::Completeness, journal::Description, name::StudyName, positions::ChosenPositions,
    run::Finished, tuning::NOISE_SAMPLE,
};

/// The options of [`decoding`].
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
    /// Random directions of noise at each position, along each of which the breaking point is found.
    pub directions: usize,
    /// Numbers of dimensions onto which states are projected.
    pub dimensions: Vec<usize>,
    /// The seed of disturbances, directions and projections.
    pub seed: u64,
    /// Bytes that one batch may use.
    #[serde(skip)]
    pub memory_budget: usize,
}

impl DecodingOptions {
    /// Nothing but margins at these taps and positions: set the other fields for more.
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

/// A model that produced states which another one, the decoder of the study, is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Producer<'a> {
    /// The name in the results.
    pub name: &'a str,
    /// The model.
    pub decoder: &'a Decoder,
}

/// Which tokens nearest-state decoding gives, the prefix known, over the whole vocabulary.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DecodingStudy {
    /// The number of tokens that each true token was compared with.
    pub others: usize,
    /// The number of positions measured at each tap.
    pub positions: usize,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapDecoding>,
    /// Which units of the study this contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// One tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TapDecoding {
    /// The tap.
    pub tap: Tap,
    /// The noise floor of the tap.
    pub noise: NoiseFloor,
    /// Quantiles of the norms of the true states.
    pub norms: Vec<Quantile>,
    /// Quantiles of the margins: from the true token's state to the nearest other.
    pub margins: Vec<Quantile>,
    /// Quantiles of the norm at which noise in a random direction first brings another token nearer, exact along that direction.
    pub breaking: Vec<Quantile>,
    /// The same as multiples of half of the position's own margin, which by Theorem 3.2 no direction falls below.
    pub breaking_over_half_margin: Vec<Quantile>,
    /// The share of positions and directions that survive noise of so many margins.
    pub survival: Vec<Survival>,
    /// The states that were disturbed, or produced by another model.
    pub views: Vec<View>,
    /// The margins in fewer dimensions.
    pub projections: Vec<Projected>,
}

/// A point of the curve of recovery against noise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Survival {
    /// The norm of the noise as a share of the position's own margin; one half is the bound of Theorem 3.2.
    pub noise_over_margin: f64,
    /// The share of positions and directions at which the true token's state is still the nearest.
    pub recovered: f64,
}

/// Changed states: the number of positions at which the true token is still the nearest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// The disturbance, or the producer.
    pub name: String,
    /// Positions measured.
    pub positions: usize,
    /// Positions at which no other token's state is nearer than the true one's. At the others the information is gone for
    /// any decoder that takes the nearest.
    pub recovered: usize,
    /// The number of positions that are the first of a prompt, where rotary models without BOS have their attention sink.
    pub first: usize,
    /// The number of those that are recovered.
    pub recovered_first: usize,
    /// Positions at which the state moved by less than half the margin: there Theorem 3.2 promises recovery.
    pub within_half_margin: usize,
    /// Positions at which no bound promised recovery, and the true token was the nearest all the same.
    pub recovered_beyond: usize,
    /// Quantiles of how far the states moved.
    pub errors: Vec<Quantile>,
    /// Quantiles of the same as a multiple of half the margin.
    pub errors_over_half_margin: Vec<Quantile>,
    /// Quantiles of how many tokens are nearer than the true one.
    pub nearer: Vec<Quantile>,
    /// Positions at which another token is nearer, as far as there is room for them.
    pub lost: Vec<LostPosition>,
}

/// A position at which another token's state is nearer.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LostPosition {
    /// Number of the prompt.
    pub prompt: usize,
    /// The position, counted from 0.
    pub position: usize,
    /// The token that stands there.
    pub token: u32,
    /// The token whose state is the nearest.
    pub nearest: u32,
    /// Its distance.
    pub distance: f64,
    /// The distance of the true token's state.
    pub error: f64,
}

/// States of which only a projection onto a random subspace is known.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Projected {
    /// Dimensions of the subspace.
    pub dimensions: usize,
    /// Quantiles of the margin within it.
    pub margins: Vec<Quantile>,
    /// Positions at which that margin exceeds twice the noise floor.
    pub separated: usize,
}

/// One position at one tap, as it is taken down.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Measured {
    position: usize,
    token: u32,
    norm: f64,
    margin: f64,
    /// For each direction. `None` if there is no token in that direction.
    breaking: Vec<Option<f64>>,
    /// For each view.
    views: Vec<Seen>,
    /// For each number of dimensions.
    projected: Vec<f64>,
}

/// One view of one position.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Seen {
    /// Distance of the true token's state.
    error: f64,
    /// Tokens that are nearer.
    nearer: usize,
    /// The nearest of those.
    nearest: Option<(u32, f64)>,
}

/// Computes, at chosen positions of prompts and after the true prefix, the states of all tokens that could stand there, and
/// asks for each view of the true state whether any of them is nearer than the true token's own: a certificate, since no
/// token is left out.
///
/// Along a direction `u` noise of norm `s` moves the state `h` to `h + s u`. Another token's state `c` is then nearer if
/// `|c - h|^2 < 2 s (c - h).u`, so the breaking point along `u` is the least `|c - h|^2 / (2 (c - h).u)` over all tokens with a positive
/// product. By Cauchy and Schwarz it is at least `|c - h| / 2`: half the margin, the bound of Theorem 3.2, which is reached only by
/// noise that points at the nearest token. One pass over the vocabulary gives it exactly, so no size of noise has to be tried.
///
/// A unit of the study is a prompt. `model` names the weights, and `producers` may produce states of the same prompts with others; those
/// are compared with the states of `decoder`.
///
/// # Errors
///
/// [`StudyError`]: no prompts, more dimensions than a state has, what a decoder refuses, a journal of another study.
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
        serde_json::json!({ "model": model, "producers": names, "prompts": super::fingerprint(prompts),
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
