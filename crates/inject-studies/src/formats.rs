//! The distances between states of different prompts, with weights or states in narrow formats.
//!
//! The same prompts are computed in each format: with weights rounded to it, or with states rounded after an exact computation. The
//! closest pair and the number of equal states show how much of their differences the format preserves.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize};

use burn::tensor::Device;
use inject_sipit::{
    collisions::{Metric, NoiseFloor, Pair, Resolution, StateRows, identities, measure_noise_floors},
    models::{Decoder, NumberFormat, Tap},
    states::{Disturbance, Extraction, States, store::Positions},
};

use crate::{
    completeness::Completeness,
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
    tap_distances::{NeighbourSearch, Quantile, TapDistances, TapOptions},
    tuning::NOISE_SAMPLE,
};

/// The taps and number formats that [`formats`] compares.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct FormatOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The kinds of storage to compare.
    pub storages: Vec<Storage>,
    /// The seed of random disturbances.
    pub seed: u64,
    /// The number of prompts that are computed again for the noise floor.
    pub noise_sample: NonZeroUsize,
    /// The memory that one batch or one search may use, in bytes.
    #[serde(skip)]
    pub memory_budget: usize,
}

impl FormatOptions {
    /// Creates options to measure each kind of storage at each tap.
    pub fn new(taps: Vec<Tap>, storages: Vec<Storage>) -> Self {
        let memory_budget = TapOptions::default().memory_budget;
        FormatOptions { taps, storages, seed: 1, noise_sample: NOISE_SAMPLE, memory_budget }
    }
}

/// The numbers that are stored in a narrow format. All other numbers are exact.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Storage {
    /// None: the states are those computed.
    AsComputed,
    /// The weights. The states are then those of another model.
    Weights(#[cfg_attr(feature = "schema", schemars(with = "crate::schema::NumberFormat"))] NumberFormat),
    /// The states of a tap.
    States(#[cfg_attr(feature = "schema", schemars(with = "crate::schema::Disturbance"))] Disturbance),
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Storage::AsComputed => "as computed".to_owned(),
            Storage::Weights(format) => format!("weights {format}"),
            Storage::States(disturbance) => format!("states {disturbance}"),
        })
    }
}

/// The closest states of different prompts in each number format.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct FormatStudy {
    /// The number of prompts whose states were compared.
    pub prompts: usize,
    /// Each format at each tap.
    pub formats: Vec<InFormat>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The distances in one number format at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct InFormat {
    /// The numbers to which the format applies.
    pub storage: Storage,
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The noise floor with these weights.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest distance exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// The closest pair of all, exact.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Pair"))]
    pub closest: Pair,
    /// The number of states that are equal in every number to an earlier state of another prompt.
    pub collisions: usize,
    /// Quantiles of the distances of all pairs, or of a sample if there are many.
    pub quantiles: Vec<Quantile>,
}

/// Measures the last-token states of different prompts in each format. A unit of the study is a format. `model` identifies the
/// weights in the journal.
///
/// # Errors
///
/// [`StudyError`] if there are fewer than two prompts, the decoder refuses a prompt or a tap, a format cannot represent a state,
/// or the journal belongs to another study.
pub fn formats(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    options: &FormatOptions,
    run: Run<'_>,
) -> Result<FormatStudy, StudyError> {
    if prompts.len() < 2 {
        return Err(StudyError::TooFewPrompts { found: prompts.len(), expected: 2 });
    }
    let about = Description::new(
        StudyName::Formats,
        serde_json::json!({ "model": model, "prompts": fingerprint(prompts), "options": options,
        }),
    )
    .computed_by(decoder)
    .within_memory(options.memory_budget);
    let extraction = Extraction::new(options.taps.clone(), Positions::Last)?;
    let extraction = extraction.with_memory_budget(options.memory_budget);
    let compute = |decoder: &Decoder, done: &mut dyn FnMut(f64)| {
        let states = extraction.run(decoder, prompts, &mut |progress| {
            done(0.8 * progress.fraction());
        })?;
        let noise = measure_noise_floors(
            Metric::L2,
            decoder,
            None,
            extraction.taps(),
            prompts,
            options.noise_sample,
        )?;
        Ok::<_, StudyError>(Computed { states, noise })
    };
    let identities = identities(prompts.iter().map(Vec::as_slice));
    // All formats of states begin with the same computed states.
    let mut exact: Option<Computed> = None;
    let Finished { results: measured, completeness } =
        run.complete(&about, options.storages.clone(), |&storage, done| {
            let quantised = match storage {
                Storage::AsComputed | Storage::States(_) => None,
                Storage::Weights(format) => Some(compute(&decoder.clone().with_weights_in(format)?, done)?),
            };
            let computed = match (&quantised, &mut exact) {
                (Some(quantised), _) => quantised,
                (None, Some(exact)) => exact,
                (None, exact) => exact.insert(compute(decoder, done)?),
            };
            computed.stored_as(storage, prompts, &identities, options, &decoder.device())
        })?;
    let formats = measured.into_iter().flat_map(|(_, taps)| taps).collect();
    Ok(FormatStudy { prompts: prompts.len(), formats, completeness })
}

/// The last states of all prompts, and their noise floors.
struct Computed {
    states: BTreeMap<Tap, States>,
    noise: BTreeMap<Tap, NoiseFloor>,
}

impl Computed {
    fn stored_as(
        &self,
        storage: Storage,
        prompts: &[Vec<u32>],
        identities: &[u32],
        options: &FormatOptions,
        device: &Device,
    ) -> Result<Vec<InFormat>, StudyError> {
        let tap_options = TapOptions {
            closest: NonZeroUsize::MIN,
            nearest: NeighbourSearch::Skipped,
            memory_budget: options.memory_budget,
            ..TapOptions::default()
        };
        let at_tap = |(&tap, states): (&Tap, &States)| {
            let disturbed = match storage {
                Storage::AsComputed | Storage::Weights(_) => None,
                Storage::States(disturbance) => {
                    let mut disturbed = states.mapv(f64::from);
                    disturbance.apply(&mut disturbed, options.seed);
                    Some(disturbed.mapv(|value| value as f32))
                }
            };
            let states = disturbed.as_ref().unwrap_or(states);
            let rows = StateRows::new(states.view())?.with_identities(identities.to_vec())?;
            let prompt = |row: usize| prompts[row].as_slice();
            let distances = TapDistances::measure(tap, &rows, prompt, &tap_options, device, &mut |_| ())?;
            let Some(&closest) = distances.closest.first() else { return Err(StudyError::NoPairs { tap }) };
            let noise = self.noise[&tap];
            Ok(InFormat {
                storage,
                tap,
                noise,
                resolution: Resolution::of(distances.minimum, noise.largest()),
                closest,
                collisions: distances.equal.iter().map(|equal| equal.rows.len() - 1).sum(),
                quantiles: distances.quantiles,
            })
        };
        self.states.iter().map(at_tap).collect()
    }
}
