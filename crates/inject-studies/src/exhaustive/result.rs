//! The result of the exhaustive study.

use inject_sipit::{
    collisions::{Coverage, NoiseFloor, Resolution},
    models::Tap,
};

use crate::{completeness::Completeness, tap_distances::Quantile};

/// The result of [`exhaustive`](super::exhaustive()).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct ExhaustiveStudy {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The number of tokens in the vocabulary, which is the number of extensions of each prompt.
    pub vocab_size: usize,
    /// The prompts that were extended, as token ids.
    pub prefixes: Vec<Vec<u32>>,
    /// Tokens that share one embedding. The same prompt followed by one or the other has one state at every tap, whatever the
    /// rest of the model does, so these pairs are counted here and left out of all that follows.
    #[serde(alias = "twins")]
    pub tokens_with_equal_embeddings: Vec<Vec<u32>>,
    /// The number of pairs of extensions by such tokens.
    #[serde(alias = "twin_pairs")]
    pub pairs_with_equal_embeddings: u64,
    /// The number of pairs of extensions of one prompt, without those by tokens with equal embeddings. All of them were examined. In a
    /// finished study the two numbers add up to [`pairs_within`](super::pairs_within).
    pub pairs_within: u64,
    /// The number of pairs of extensions of two different prompts. All of them were examined.
    pub pairs_across: u64,
    /// Each prompt, then each pair of prompts; units that are not finished are missing.
    pub extensions: Vec<Extensions>,
    /// The noise floor at the states of the closest pairs.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest distance of all exceeds the noise floor. `None` if no unit is finished.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Resolution>"))]
    pub resolution: Option<Resolution>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The distances between the extensions of one prompt, or of two.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Extensions {
    /// The numbers of the two prompts, which are equal for pairs of extensions of one prompt.
    pub prefixes: [usize; 2],
    /// The number of pairs of tokens with equal embeddings.
    #[serde(alias = "twin_pairs")]
    pub pairs_with_equal_embeddings: u64,
    /// The number of other pairs. All of them were examined.
    pub pairs: u64,
    /// The number of distances computed in f64. Bounds excluded the other pairs.
    pub computed: u64,
    /// The closest pairs, exact and in ascending order.
    pub closest: Vec<ExtensionPair>,
    /// The number of pairs whose states are equal in every number.
    pub equal_pairs: u64,
    /// The pairs that the quantiles count.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Coverage"))]
    pub coverage: Coverage,
    /// Quantiles of the distances of the pairs that `coverage` names.
    pub quantiles: Vec<Quantile>,
}

/// Two extended prompts whose states are close.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct ExtensionPair {
    /// The distance of their states.
    pub distance: f64,
    /// The numbers of the prompts that were extended.
    pub prefixes: [usize; 2],
    /// The tokens that were added to them.
    pub tokens: [u32; 2],
}

impl ExhaustiveStudy {
    /// Returns the closest pair of the study.
    pub fn minimum(&self) -> Option<ExtensionPair> {
        let closest = self.extensions.iter().filter_map(|extensions| extensions.closest.first().copied());
        closest.min_by(|a, b| a.distance.total_cmp(&b.distance))
    }
}
