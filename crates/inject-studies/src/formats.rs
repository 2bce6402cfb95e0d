//! How close the states of different prompts come where weights or states are held in narrow formats.

use std::{collections::BTreeMap, fmt};

use burn::tensor::Device;
use inject_sipit::{
    collisions::{Metric, NoiseFloor, Pair, Rows, Verdict, identities, measure_noise_floors},
    models::{Decoder, Tap, WeightFormat},
    states::{Disturbance, Extraction, store::Positions},
};
use ndarray::Array2;

use super::{Quantile, Run, StudyError, TapDistances, TapOptions, tap_distances::Nearest};

/// Which formats are compared, and where.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FormatOptions {
    /// Where the states are read.
    pub taps: Vec<Tap>,
    /// What is held how, each on its own.
    pub held: Vec<Held>,
    /// What disturbances that draw lots depend on.
    pub seed: u64,
    /// Prompts computed again for the noise floor.
    pub noise_sample: usize,
    /// Bytes that one batch or one search may use.
    #[serde(skip)]
    pub memory_budget: usize,
}

/// What is held in a narrow format, all else being exact.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// Nothing.
    AsComputed,
    /// The weights: the states are those of another model.
    Weights(WeightFormat),
    /// The states, all rows of a tap together.
    States(Disturbance),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Held::AsComputed => "as computed".to_owned(),
            Held::Weights(format) => format!("weights {format}"),
            Held::States(disturbance) => format!("states {disturbance}"),
        })
    }
}

/// The closest states of different prompts, format by format.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FormatStudy {
    /// How many prompts.
    pub prompts: usize,
    /// Each format at each tap.
    pub formats: Vec<InFormat>,
}

/// One format at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct InFormat {
    /// What is held how.
    pub held: Held,
    /// The tap.
    pub tap: Tap,
    /// How far apart computations of one state lie, with these weights.
    pub noise: NoiseFloor,
    /// What the smallest distance means beside that.
    pub verdict: Verdict,
    /// The closest pair, exact.
    pub closest: Pair,
    /// Rows whose state is equal, number by number, to that of an earlier row of another prompt.
    pub collisions: usize,
    /// Quantiles of the distances of all pairs, or of a sample where there are many.
    pub quantiles: Vec<Quantile>,
}

/// Measures the last-token states of different prompts in each format. A unit of the study is a format. `model` names the weights.
///
/// # Errors
///
/// [`StudyError`]: fewer than two prompts, what the decoder or a format refuses, a journal of another study.
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
    let about = serde_json::json!({
        "study": "formats", "model": model, "prompts": super::fingerprint(prompts), "options": options,
    });
    let extraction = Extraction::new(options.taps.clone(), Positions::Last)?;
    let extraction = extraction.with_memory_budget(options.memory_budget);
    let compute = |decoder: &Decoder, done: &mut dyn FnMut(f64)| {
        let states = extraction.run(decoder, prompts, &mut |progress| {
            done(0.8 * progress.prompts_done as f64 / progress.prompts.max(1) as f64);
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
    // Every format of states begins with the same ones.
    let mut exact: Option<Computed> = None;
    let measured = run.complete(&about, options.held.clone(), |&held, done| {
        let quantised = match held {
            Held::AsComputed | Held::States(_) => None,
            Held::Weights(format) => Some(compute(&decoder.clone().with_weights_in(format)?, done)?),
        };
        let computed = match (&quantised, &mut exact) {
            (Some(quantised), _) => quantised,
            (None, Some(exact)) => exact,
            (None, exact) => exact.insert(compute(decoder, done)?),
        };
        computed.held(held, prompts, &identities, options, &decoder.device())
    })?;
    let formats = measured.into_iter().flat_map(|(_, taps)| taps).collect();
    Ok(FormatStudy { prompts: prompts.len(), formats })
}

/// The last states of all prompts, and their noise.
struct Computed {
    states: BTreeMap<Tap, Array2<f32>>,
    noise: BTreeMap<Tap, NoiseFloor>,
}

impl Computed {
    fn held(
        &self,
        held: Held,
        prompts: &[Vec<u32>],
        identities: &[u32],
        options: &FormatOptions,
        device: &Device,
    ) -> Result<Vec<InFormat>, StudyError> {
        let tap_options = TapOptions {
            closest: 1,
            nearest: Nearest::Skipped,
            memory_budget: options.memory_budget,
            ..TapOptions::default()
        };
        let at_tap = |(&tap, states): (&Tap, &Array2<f32>)| {
            let disturbed = match held {
                Held::AsComputed | Held::Weights(_) => None,
                Held::States(disturbance) => {
                    let mut disturbed = states.mapv(f64::from);
                    disturbance.apply(&mut disturbed, options.seed);
                    Some(disturbed.mapv(|value| value as f32))
                }
            };
            let states = disturbed.as_ref().unwrap_or(states);
            let rows = Rows::new(states.view())?.with_identities(identities.to_vec())?;
            let prompt = |row: usize| prompts[row].as_slice();
            let distances = TapDistances::measure(tap, &rows, prompt, &tap_options, device, &mut |_| ())?;
            let Some(&closest) = distances.closest.first() else { return Err(StudyError::NoPairs { tap }) };
            let noise = self.noise[&tap];
            Ok(InFormat {
                held,
                tap,
                noise,
                verdict: Verdict::of(distances.minimum, noise.largest()),
                closest,
                collisions: distances.equal.iter().map(|equal| equal.rows.len() - 1).sum(),
                quantiles: distances.quantiles,
            })
        };
        self.states.iter().map(at_tap).collect()
    }
}
