//! The comparison of two models.
//!
//! Taps of the same relative depth are compared by quantities that do not depend on the width or scale of the states.

use inject_sipit::{collisions::Resolution, models::Tap};

use crate::corpus::{CorpusStudy, TapReport};

/// Two corpus studies, compared tap by tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct BetweenModels {
    /// Names of the models, the first study's first.
    pub models: [String; 2],
    /// Each tap of the first model with the tap of the second at the same share of the depth.
    pub taps: Vec<Compared>,
}

/// Two taps at the same share of their models' depths. The first number of each pair belongs to the first model, the second to
/// the second.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Compared {
    /// The tap of each model.
    #[cfg_attr(feature = "schema", schemars(with = "[crate::schema::Tap; 2]"))]
    pub taps: [Tap; 2],
    /// The depth of each tap as a share of its model's blocks, from 0 to 1.
    pub depths: [f64; 2],
    /// The smallest distance at each tap, in L2.
    pub minima: [f64; 2],
    /// The smallest distances as shares of the median distance, which can be compared between models of different widths and
    /// scales.
    pub relative_minima: [Option<f64>; 2],
    /// The mean cosine between two states of each tap, from -1 to 1.
    pub anisotropies: [Option<f64>; 2],
    /// The intrinsic dimension of each tap's states.
    pub dimensions: [Option<f64>; 2],
    /// Whether each smallest distance exceeds its noise floor.
    #[serde(alias = "verdicts")]
    #[cfg_attr(feature = "schema", schemars(with = "[crate::schema::Resolution; 2]"))]
    pub resolutions: [Resolution; 2],
}

/// Compares each tap of the first study with the tap of the second study that is nearest in relative depth.
///
/// The final norm is compared only with the final norm, because its states are in another space.
pub fn between_models(first: &CorpusStudy, second: &CorpusStudy) -> BetweenModels {
    let compare = |tap: &TapReport| {
        let depth = depth(first, tap.tap);
        let alike =
            second.taps.iter().filter(|other| (other.tap == Tap::FinalNorm) == (tap.tap == Tap::FinalNorm));
        let off = |other: &&TapReport| (self::depth(second, other.tap) - depth).abs();
        let other = alike.min_by(|a, b| off(a).total_cmp(&off(b)))?;
        let both = [tap, other];
        let relative = |tap: &TapReport| {
            let median = tap.distances.median().filter(|&median| median > 0.0)?;
            Some(tap.distances.minimum / median)
        };
        Some(Compared {
            taps: both.map(|tap| tap.tap),
            depths: [depth, self::depth(second, other.tap)],
            minima: both.map(|tap| tap.distances.minimum),
            relative_minima: both.map(relative),
            anisotropies: both.map(|tap| tap.distances.geometry.anisotropy),
            dimensions: both.map(|tap| tap.distances.geometry.intrinsic_dimension),
            resolutions: both.map(|tap| tap.resolution),
        })
    };
    let models = [first.model_id.clone(), second.model_id.clone()];
    BetweenModels { models, taps: first.taps.iter().filter_map(compare).collect() }
}

/// Returns the relative depth of a tap, from 0 at the embedding to 1 at the last block.
fn depth(study: &CorpusStudy, tap: Tap) -> f64 {
    match tap {
        Tap::Embedding => 0.0,
        Tap::Block(block) => block as f64 / study.n_layers.max(1) as f64,
        Tap::FinalNorm => 1.0,
    }
}
