//! The effect of gradient descent on the collisions of degenerate initial weights.

use std::num::NonZeroUsize;

use burn::module::Module;
use inject_sipit::{
    NoiseModel,
    collisions::{Metric, NoiseFloor, Resolution, distance, measure_noise_floors, norm},
    models::{Decoder, Tap, silent},
    states::{Extraction, store::Positions},
};

use super::{DegenerateCase, Fate, Optimiser, run::Steps};
use crate::{error::StudyError, tuning::NOISE_POSITIONS};

/// The optimiser, steps and seed of [`degenerate`].
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct DegenerateOptions {
    /// The rule of each step.
    pub optimiser: Optimiser,
    /// The numbers of steps after which the pairs are measured again, ascending. The start is always measured.
    pub steps: Vec<usize>,
    /// The seed of the draw of batches.
    pub seed: u64,
    /// The number of parts of a batch that are computed at the same time. The figures depend on it by rounding.
    pub threads: NonZeroUsize,
}

impl DegenerateOptions {
    /// Creates options to train with `optimiser` and measure after each number of `steps`.
    pub fn new(optimiser: Optimiser, steps: Vec<usize>, seed: u64, threads: NonZeroUsize) -> Self {
        DegenerateOptions { optimiser, steps, seed, threads }
    }
}

/// The collisions of one case during training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DegenerateStudy {
    /// The start, the prompts, and the expected effect of training on them.
    pub case: DegenerateCase,
    /// Each tap of the case.
    pub taps: Vec<TapFate>,
    /// Whether every pair collides at the start, and each tap has the expected fate at every later step measured.
    pub as_expected: bool,
}

/// The collisions at one tap during training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapFate {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The measurement at the start, then one after each requested number of steps.
    pub steps: Vec<AtStep>,
}

/// The pairs of a case at one tap, after some steps.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct AtStep {
    /// The number of steps before this measurement.
    pub step: usize,
    /// The number of pairs whose states are equal in every number.
    pub equal: usize,
    /// The smallest distance of a pair.
    pub smallest: f64,
    /// The largest distance of a pair.
    pub largest: f64,
    /// The noise floor of these states.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// The upper bound of the noise with which the distances are compared. As in an inversion, it is eight times the larger of
    /// two noises: the one measured here, and the model's own at the largest state. The first alone is not enough: a few states
    /// may agree to the last bit by chance, while colliding ones that add the same terms in another order do not.
    pub bound: f64,
    /// Whether the smallest distance exceeds the bound.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// Whether the largest distance exceeds the bound. Together with the resolution of the smallest it shows whether all, some or
    /// no pairs are separated.
    #[serde(alias = "verdict_of_largest")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution_of_largest: Resolution,
}

impl AtStep {
    /// Returns *kept* if no distance exceeds the bound, *dissolved* if every distance does, and `None` if only some do.
    pub fn fate(&self) -> Option<Fate> {
        match (self.resolution, self.resolution_of_largest) {
            (Resolution::Separated, _) => Some(Fate::Dissolved),
            (_, Resolution::Separated) => None,
            _ => Some(Fate::Kept),
        }
    }
}

/// Makes the newly drawn weights of a decoder degenerate, trains it, and measures the pairs of a case at the start and during
/// training.
///
/// # Errors
///
/// [`StudyError`] for an invalid learning rate or batch size, and the errors of the decoder.
pub fn degenerate(
    drawn: &Decoder,
    windows: &[Vec<u32>],
    case: &DegenerateCase,
    options: &DegenerateOptions,
) -> Result<DegenerateStudy, StudyError> {
    options.optimiser.check(windows.len())?;
    let start = case.start.spoil(drawn.clone());
    let mut steps = Steps::new(&start, windows, options.optimiser, options.seed, options.threads);
    let mut taps: Vec<TapFate> = case.taps.iter().map(|&tap| TapFate { tap, steps: Vec::new() }).collect();
    let mut taken = 0;
    for &step in std::iter::once(&0).chain(&options.steps) {
        while taken < step {
            steps.step()?;
            taken += 1;
        }
        let measured = measure(&steps.decoder.valid().with_lanes(options.threads), case, step)?;
        taps.iter_mut().zip(measured).for_each(|(tap, at_step)| tap.steps.push(at_step));
    }
    let holds = |at: &AtStep| at.fate() == Some(if at.step == 0 { Fate::Kept } else { case.expected });
    let as_expected = taps.iter().all(|tap| tap.steps.iter().all(holds));
    Ok(DegenerateStudy { case: case.clone(), taps, as_expected })
}

/// Measures the pairs at each tap of the case, in the order of the case.
fn measure(decoder: &Decoder, case: &DegenerateCase, step: usize) -> Result<Vec<AtStep>, StudyError> {
    let prompts: Vec<Vec<u32>> = case.pairs.iter().flatten().cloned().collect();
    if prompts.is_empty() {
        return Err(StudyError::TooFew { what: "pairs of prompts", found: 0, expected: 1 });
    }
    let states = Extraction::new(case.taps.clone(), Positions::Last)?.run(decoder, &prompts, &mut silent)?;
    let noise = measure_noise_floors(Metric::L2, decoder, None, &case.taps, &prompts, NonZeroUsize::MAX)?;
    let sequence_len = NOISE_POSITIONS.min(decoder.config().max_len().unwrap_or(usize::MAX));
    let at_tap = |&tap: &Tap| {
        let rows = states[&tap].as_slice().expect("states are row-major");
        let width = decoder.config().d_model;
        let pairs = rows.chunks(2 * width).map(|pair| distance(&pair[..width], &pair[width..]));
        let distances: Vec<f64> = pairs.collect();
        let smallest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = distances.iter().copied().fold(0.0, f64::max);
        let largest_norm = rows.chunks(width).map(norm).fold(0.0, f64::max);
        let noise = noise[&tap];
        let bound = NoiseModel::measure(decoder, tap, sequence_len)?
            .bound(largest_norm, noise.largest().unwrap_or(0.0));
        Ok(AtStep {
            step,
            equal: distances.iter().filter(|&&distance| distance == 0.0).count(),
            smallest,
            largest,
            noise,
            bound,
            resolution: Resolution::of(smallest, bound),
            resolution_of_largest: Resolution::of(largest, bound),
        })
    };
    case.taps.iter().map(at_tap).collect()
}
