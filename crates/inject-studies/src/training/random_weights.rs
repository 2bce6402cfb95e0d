//! The closest of many prompts under weights that were drawn and never trained.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use inject_sipit::models::{DecoderConfig, Family, Tap, config::Activation};

use super::{TapMinimum, closest_at_taps};
use crate::StudyError;

/// One decoder to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomShape {
    /// The family.
    pub family: Family,
    /// Its configuration.
    pub config: DecoderConfig,
    /// Standard deviation of the weights; those that lead back to the residual stream are drawn narrower, as GPT-2 does.
    pub std: f64,
    /// The seed of the draw.
    pub seed: u64,
}

/// The closest prompts of one decoder.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RandomWeights {
    /// The family, by name.
    pub family: String,
    /// Width of the residual stream.
    pub d_model: usize,
    /// The number of blocks.
    pub n_layers: usize,
    /// The activation of its first block, by name.
    pub activation: String,
    /// Whether that is analytic, as the theorem assumes.
    pub analytic: bool,
    /// Standard deviation of the weights.
    pub std: f64,
    /// The seed of the draw.
    pub seed: u64,
    /// Every tap but the embedding, where prompts with the same last token collide by construction.
    pub taps: Vec<TapMinimum>,
}

impl RandomWeights {
    /// The tap whose minimum is smallest in units of its noise floor.
    pub fn tightest(&self) -> Option<&TapMinimum> {
        let ratio =
            |tap: &TapMinimum| tap.minimum / tap.noise.largest().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        self.taps.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }
}

/// Draws each decoder from its seed, and searches the closest pair of prompts at each of its taps. `told` is called with
/// each result.
///
/// # Errors
///
/// [`StudyError`]: fewer than two different prompts, and what a decoder refuses.
///
/// # Source
///
/// arXiv 2510.15511, theorem 2.2.
pub fn random_weights(
    shapes: &[RandomShape],
    prompts: &[Vec<u32>],
    threads: NonZeroUsize,
    device: &Device,
    told: &mut dyn FnMut(&RandomWeights),
) -> Result<Vec<RandomWeights>, StudyError> {
    let measure = |shape: &RandomShape| {
        device.seed(shape.seed);
        let decoder = shape.config.init(shape.std, device).with_lanes(threads);
        let n_layers = shape.config.n_layers();
        let taps: Vec<Tap> = Tap::all(n_layers).into_iter().filter(|&tap| tap != Tap::Embedding).collect();
        let activation = shape.config.blocks.first().map(|block| block.feed_forward.kind.activation());
        let found = RandomWeights {
            family: shape.family.to_string(),
            d_model: shape.config.d_model,
            n_layers,
            activation: activation.map_or_else(String::new, |activation| activation.to_string()),
            analytic: activation.is_none_or(Activation::is_analytic),
            std: shape.std,
            seed: shape.seed,
            taps: closest_at_taps(&decoder, prompts, &taps)?,
        };
        told(&found);
        Ok(found)
    };
    shapes.iter().map(measure).collect()
}
