//! The policies that are compared, each with its settings.

use std::path::Path;

use clap::ValueEnum;
use inject_sipit::{PolicyChoice, Settings, models::Tap, settings::Scan};

use crate::{
    options::{LoadedModel, PolicyKind, PolicyOptions},
    outcome::Failure,
};

/// A policy that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// The brute force of the paper: a random order, one candidate at a time
    Random,
    /// The gradient policy of the paper as printed, one candidate at a time
    Gradient,
    /// The gradient policy, as the code released with the paper does it
    GradientReleased,
    /// The other baseline of the paper: PEZ, which drafts the whole prompt
    HardPrompts,
    /// The vocabulary in batches, until a candidate fits
    Scan,
    /// The whole vocabulary in batches, at every position
    Exhaustive,
    /// The choice of this project without a lens
    Auto,
    /// The same, with what it learned from earlier prompts
    AutoLearning,
    /// The choice of this project with a lens
    Lens,
}

/// The settings that all policies share.
pub(crate) struct Terms<'a> {
    pub(crate) model: &'a LoadedModel,
    pub(crate) tap: Tap,
    pub(crate) positions: usize,
    pub(crate) lens: Option<&'a Path>,
    pub(crate) max_seconds: f64,
    pub(crate) seed: u64,
}

impl Contender {
    /// In the order of the table.
    pub(crate) const ALL: [Contender; 9] = [
        Contender::Random,
        Contender::Gradient,
        Contender::GradientReleased,
        Contender::HardPrompts,
        Contender::Scan,
        Contender::Exhaustive,
        Contender::Auto,
        Contender::AutoLearning,
        Contender::Lens,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Contender::Random => "random order (brute force)",
            Contender::Gradient => "gradient (SipIt as printed)",
            Contender::GradientReleased => "gradient (SipIt as released)",
            Contender::HardPrompts => "hard prompts (PEZ)",
            Contender::Scan => "batched scan",
            Contender::Exhaustive => "batched scan, whole vocabulary",
            Contender::Auto => "ours without lens",
            Contender::AutoLearning => "the same, learning on",
            Contender::Lens => "ours with lens",
        }
    }

    /// The name on the command line and in files.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether one policy inverts all prompts, and may use for later prompts what it saw in earlier ones.
    pub(crate) fn learns_between_prompts(self) -> bool {
        self == Contender::AutoLearning
    }

    /// The settings of the inverter.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the budget is not a time.
    pub(crate) fn settings(self, terms: &Terms<'_>) -> Result<Settings, Failure> {
        let mut settings = self.options(terms, 0).settings()?;
        match self {
            Contender::Scan => settings.scan = Scan::AsNeeded,
            // Where no draft settles a position it is scanned otherwise, and a scan does not belong to this baseline.
            Contender::HardPrompts => settings.budget.candidates = Some(1),
            _ => {}
        }
        Ok(settings)
    }

    /// The policy for one of the prompts, and the reason for it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if there is no lens for the tap, or it was made for other weights.
    pub(crate) fn choice(self, terms: &Terms<'_>, prompt: usize) -> Result<PolicyChoice, Failure> {
        self.options(terms, prompt).choose(terms.model, terms.tap, terms.positions)
    }

    fn options(self, terms: &Terms<'_>, prompt: usize) -> PolicyOptions {
        let policy = match self {
            Contender::Random => PolicyKind::Random,
            Contender::Gradient => PolicyKind::Gradient,
            Contender::GradientReleased => PolicyKind::GradientReleased,
            Contender::HardPrompts => PolicyKind::HardPrompts,
            Contender::Scan | Contender::Exhaustive => PolicyKind::Exhaustive,
            Contender::Auto | Contender::AutoLearning | Contender::Lens => PolicyKind::Auto,
        };
        let draws = matches!(
            policy,
            PolicyKind::Random
                | PolicyKind::Gradient
                | PolicyKind::GradientReleased
                | PolicyKind::HardPrompts
        );
        PolicyOptions {
            policy,
            lens: terms.lens.filter(|_| self == Contender::Lens).map(Path::to_owned),
            max_seconds: Some(terms.max_seconds),
            seed: draws.then(|| terms.seed + prompt as u64),
            ..PolicyOptions::default()
        }
    }
}
