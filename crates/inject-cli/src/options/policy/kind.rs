//! The sources of candidates by their names on the command line.

use clap::ValueEnum;

/// The source of candidates that `--policy` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyKind {
    /// The one of lens, secant and scan that is expected to cost least
    Auto,
    /// Drafts of the whole prompt by a lens (needs --lens)
    Lens,
    /// The model's own prediction of the next token
    Prior,
    /// The prediction, then a search along the candidates tested
    Secant,
    /// A uniformly random order: the brute force of the paper
    Random,
    /// The gradient policy of the paper, as printed
    Gradient,
    /// The gradient policy, as the code released with the paper does it
    GradientReleased,
    /// Hard prompts (PEZ), adapted as in the paper
    HardPrompts,
    /// The vocabulary in batches, until a candidate fits
    Scan,
    /// The whole vocabulary in batches, at every position
    Exhaustive,
}

impl PolicyKind {
    /// Returns whether the policy draws at random, so that it has a seed.
    pub(crate) fn draws(self) -> bool {
        match self {
            PolicyKind::Random
            | PolicyKind::Gradient
            | PolicyKind::GradientReleased
            | PolicyKind::HardPrompts => true,
            PolicyKind::Auto
            | PolicyKind::Lens
            | PolicyKind::Prior
            | PolicyKind::Secant
            | PolicyKind::Scan
            | PolicyKind::Exhaustive => false,
        }
    }
}
