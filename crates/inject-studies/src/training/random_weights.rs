//! The closest of many prompts under random weights that were never trained.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use inject_sipit::models::{DecoderConfig, Family, Instructions, Tap, config::Activation};

use super::{TapMinimum, closest_at_taps};
use crate::{
    completeness::Completeness,
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
};

/// The shape of a decoder, and the distribution of its random weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RandomShape {
    /// The family of the decoder.
    pub family: Family,
    /// The configuration of the decoder.
    pub config: DecoderConfig,
    /// The standard deviation of the weights. Weights that write to the residual stream have a smaller one, as in GPT-2.
    pub std: f64,
    /// The seed of the draw.
    pub seed: u64,
}

impl RandomShape {
    /// Creates the shape of a decoder of a family. Its weights have the standard deviation `std` and are drawn from `seed`.
    pub fn new(family: Family, config: DecoderConfig, std: f64, seed: u64) -> Self {
        RandomShape { family, config, std, seed }
    }
}

/// The closest prompts of one decoder.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct RandomWeights {
    /// The family of the decoder.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub family: Family,
    /// Width of the residual stream.
    pub d_model: usize,
    /// The number of blocks of the decoder.
    pub n_layers: usize,
    /// The activation of its first block.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub activation: Activation,
    /// Whether this activation is an analytic function, as the theorem assumes.
    pub analytic: bool,
    /// The standard deviation of the weights.
    pub std: f64,
    /// The seed of the draw.
    pub seed: u64,
    /// Every tap except the embedding, at which prompts with the same last token collide by construction.
    pub taps: Vec<TapMinimum>,
}

impl RandomWeights {
    /// Returns the tap whose smallest distance is the smallest multiple of the noise floor.
    pub fn tightest(&self) -> Option<&TapMinimum> {
        let ratio =
            |tap: &TapMinimum| tap.minimum / tap.noise.largest().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        self.taps.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }
}

/// The closest pairs of prompts in decoders of random weights, as [`random_weights`] finds them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RandomWeightsStudy {
    /// Each decoder; units that are not finished are missing.
    pub decoders: Vec<RandomWeights>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// Draws each decoder from its seed, and finds the closest pair of prompts at each of its taps. A unit of the study is a decoder.
/// Up to `threads` parts of a batch are computed in parallel.
///
/// # Errors
///
/// [`StudyError`] if there are fewer than two different prompts, a decoder has no blocks or refuses a prompt, or the journal belongs
/// to another study.
///
/// # Source
///
/// arXiv 2510.15511, theorem 2.2.
pub fn random_weights(
    shapes: &[RandomShape],
    prompts: &[Vec<u32>],
    threads: NonZeroUsize,
    device: &Device,
    run: Run<'_>,
) -> Result<RandomWeightsStudy, StudyError> {
    let described: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
    let about = Description::new(
        StudyName::RandomWeights,
        serde_json::json!({ "decoders": described, "prompts": fingerprint(prompts), "threads": threads,
            "device": format!("{device:?}"),
            // With the number of threads all that rounding depends on: weights are drawn in the format of the computation.
            "instructions": Instructions::on(device),
        }),
    );
    let Finished { results, completeness } =
        run.complete(&about, (0..shapes.len()).collect(), |&number: &usize, _| {
            measure(&shapes[number], prompts, threads, device)
        })?;
    let decoders = results.into_iter().map(|(_, decoder)| decoder).collect();
    Ok(RandomWeightsStudy { decoders, completeness })
}

fn measure(
    shape: &RandomShape,
    prompts: &[Vec<u32>],
    threads: NonZeroUsize,
    device: &Device,
) -> Result<RandomWeights, StudyError> {
    let [first, ..] = shape.config.blocks.as_slice() else {
        return Err(StudyError::TooFew { what: "blocks of a decoder", found: 0, expected: 1 });
    };
    device.seed(shape.seed);
    let decoder = shape.config.init(shape.std, device).with_lanes(threads);
    let n_layers = shape.config.n_layers();
    let taps: Vec<Tap> = Tap::all(n_layers).into_iter().filter(|&tap| tap != Tap::Embedding).collect();
    let activation = first.feed_forward.kind.activation();
    Ok(RandomWeights {
        family: shape.family,
        d_model: shape.config.d_model,
        n_layers,
        activation,
        analytic: activation.is_analytic(),
        std: shape.std,
        seed: shape.seed,
        taps: closest_at_taps(&decoder, prompts, &taps)?,
    })
}
