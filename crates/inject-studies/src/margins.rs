//! One-step margins: the distance from the true token's state to that of every other token.

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Resolution, SearchOptions, distance, measure_noise_floors, norm},
    models::{Decoder, PrefixCache, Tap},
};

use crate::{
    completeness::Completeness,
    error::StudyError,
    extension::{Beside, beside_all_others},
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    positions::ChosenPositions,
    run::{Finished, Run},
    tap_distances::{Quantile, exact_quantiles},
    tuning::NOISE_SAMPLE,
};

/// The taps and positions at which [`margins`] compares all tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct MarginOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The positions that are measured.
    #[serde(flatten)]
    pub positions: ChosenPositions,
    /// The memory that one batch may use, in bytes. It affects at most the last digits of the margins.
    #[serde(skip)]
    pub memory_budget: usize,
}

impl MarginOptions {
    /// Creates options to measure margins at these taps and positions, with the default memory budget of a search.
    pub fn new(taps: Vec<Tap>, positions: ChosenPositions) -> Self {
        MarginOptions { taps, positions, memory_budget: SearchOptions::default().memory_budget }
    }

    /// Sets [`MarginOptions::memory_budget`], in bytes.
    pub fn with_memory_budget(self, memory_budget: usize) -> Self {
        MarginOptions { memory_budget, ..self }
    }
}

/// The distances from true tokens to all others, as [`margins`] measures them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct MarginStudy {
    /// The number of tokens that each true token was compared with.
    pub others: usize,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapMargins>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The margins at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapMargins {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The noise floor of the tap.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest margin exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// Quantiles of the margins, exact.
    pub margins: Vec<Quantile>,
    /// Quantiles of each margin as a share of the state's norm, exact.
    pub relative: Vec<Quantile>,
    /// Every margin, the smallest first.
    pub steps: Vec<OneStep>,
}

/// The margin at one position: the distance to the nearest other token.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct OneStep {
    /// Number of the prompt in the given list, from 0.
    pub prompt: usize,
    /// The position, counted from 0.
    pub position: usize,
    /// The id of the true token.
    pub token: u32,
    /// The other token whose state is nearest, the first one if several are equally near.
    pub nearest: u32,
    /// The distance between the two states, in f64.
    pub margin: f64,
    /// The norm of the true token's state.
    pub norm: f64,
}

/// Measures one-step margins: at chosen positions of prompts, the distance from the true token's state to the nearest state of any
/// other token after the same prefix. A unit of the study is a prompt. `model` identifies the weights in the journal.
///
/// # Errors
///
/// [`StudyError`] if no prompt contains the first position, the decoder refuses a prompt, or the journal belongs to another study.
pub fn margins(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    options: &MarginOptions,
    run: Run<'_>,
) -> Result<MarginStudy, StudyError> {
    options.positions.check(prompts)?;
    let about = Description::new(
        StudyName::Margins,
        serde_json::json!({ "model": model, "prompts": fingerprint(prompts), "options": options,
        }),
    )
    .computed_by(decoder)
    .within_memory(options.memory_budget);
    let Finished { results: measured, completeness } =
        run.complete(&about, (0..prompts.len()).collect(), |&prompt, done| {
            margins_of(decoder, prompt, &prompts[prompt], options, done)
        })?;
    let mut steps: BTreeMap<Tap, Vec<OneStep>> = BTreeMap::new();
    for (tap, of_prompt) in measured.into_iter().flat_map(|(_, of_prompt)| of_prompt) {
        steps.entry(tap).or_default().extend(of_prompt);
    }
    let taps: Vec<Tap> = steps.keys().copied().collect();
    let noise = match taps.is_empty() {
        true => BTreeMap::new(),
        false => measure_noise_floors(Metric::L2, decoder, None, &taps, prompts, NOISE_SAMPLE)?,
    };
    let report = |(tap, mut steps): (Tap, Vec<OneStep>)| {
        steps.sort_by(|a, b| a.margin.total_cmp(&b.margin));
        let smallest = steps.first()?.margin;
        Some(TapMargins {
            tap,
            noise: noise[&tap],
            resolution: Resolution::of(smallest, noise[&tap].largest()),
            margins: exact_quantiles(steps.iter().map(|step| step.margin).collect()),
            relative: exact_quantiles(
                steps.iter().map(|step| step.margin / step.norm.max(f64::MIN_POSITIVE)).collect(),
            ),
            steps,
        })
    };
    let others = decoder.config().vocab_size.saturating_sub(1);
    Ok(MarginStudy { others, taps: steps.into_iter().filter_map(report).collect(), completeness })
}

fn margins_of(
    decoder: &Decoder,
    prompt: usize,
    ids: &[u32],
    options: &MarginOptions,
    done: &mut dyn FnMut(f64),
) -> Result<BTreeMap<Tap, Vec<OneStep>>, StudyError> {
    let mut steps: BTreeMap<Tap, Vec<OneStep>> = BTreeMap::new();
    let look = |cache: &PrefixCache, position: usize, token: u32| {
        for (tap, (nearest, margin, norm)) in step(decoder, cache, token, options)? {
            let step = OneStep { prompt, position, token, nearest, margin, norm };
            steps.entry(tap).or_default().push(step);
        }
        Ok(())
    };
    options.positions.walk(decoder, ids, &options.taps, done, look)?;
    Ok(steps)
}

/// Returns the nearest other token at each tap, its distance, and the norm of the true token's state.
///
/// # Errors
///
/// [`CollisionError::NotFinite`](inject_sipit::collisions::CollisionError::NotFinite), in which the row is the token id.
fn step(
    decoder: &Decoder,
    cache: &PrefixCache,
    token: u32,
    options: &MarginOptions,
) -> Result<BTreeMap<Tap, (u32, f64, f64)>, StudyError> {
    let mut found: BTreeMap<Tap, (u32, f64, f64)> = BTreeMap::new();
    let mut look = |Beside { tap, truth, others, states, .. }: Beside<'_>| {
        for (&other, state) in others.iter().zip(states.chunks(truth.len())) {
            let distance = distance(truth, state);
            let held = found.entry(tap).or_insert((other, f64::INFINITY, norm(truth)));
            if distance < held.1 {
                (held.0, held.1) = (other, distance);
            }
        }
        Ok(())
    };
    beside_all_others(decoder, cache, token, &options.taps, options.memory_budget, &mut look)?;
    Ok(found)
}
