//! The policies that are compared, each with the settings it is run under.

use std::path::Path;

use clap::ValueEnum;
use inject_examples::{Failure, PolicyArgs, PolicyKind};
use inject_sipit::{
    Choice, Scan, Settings,
    models::{Model, Tap},
};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// The paper's brute force: random order, one candidate at a time
    Random,
    /// The paper's gradient policy as printed, one candidate at a time
    Gradient,
    /// The same as the code released with the paper does it
    GradientReleased,
    /// The paper's other baseline: PEZ, which drafts the whole prompt
    HardPrompts,
    /// The vocabulary in batches, until a candidate fits
    Scan,
    /// The whole vocabulary in batches, at every position
    Exhaustive,
    /// This project's choice without a lens
    Auto,
    /// The same, with what it learned from the prompts before
    AutoLearning,
    /// This project's choice with a lens
    Lens,
}

/// What is the same for all of them.
pub(crate) struct Terms<'a> {
    pub(crate) model: &'a Model,
    pub(crate) tap: Tap,
    pub(crate) positions: usize,
    pub(crate) lens: Option<&'a Path>,
    pub(crate) budget_seconds: f64,
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

    /// Whether one policy inverts all prompts, and may use for the later ones what it saw in the earlier ones.
    pub(crate) fn learns_between_prompts(self) -> bool {
        self == Contender::AutoLearning
    }

    /// How the inverter is run.
    ///
    /// # Errors
    ///
    /// When the budget is no time.
    pub(crate) fn settings(self, terms: &Terms<'_>) -> Result<Settings, Failure> {
        let mut settings = self.args(terms, 0).settings()?;
        match self {
            Contender::Scan => settings.scan = Scan::AsNeeded,
            // What no draft settles is scanned otherwise, and a scan is no part of this baseline.
            Contender::HardPrompts => settings.budget.candidates = Some(1),
            _ => {}
        }
        Ok(settings)
    }

    /// The policy for one of the prompts, and why it is this one.
    ///
    /// # Errors
    ///
    /// When there is no lens for the tap, or it was made for other weights.
    pub(crate) fn choice(self, terms: &Terms<'_>, prompt: usize) -> Result<Choice, Failure> {
        let args = self.args(terms, prompt);
        let choice = args.choose(terms.model, terms.tap, terms.positions)?;
        // Without a file for the tap the same choice is made as without a folder.
        if self == Contender::Lens && !choice.policy.to_string().starts_with("lens") {
            let tap = terms.tap;
            return Err(Failure::new(format!("the policy lens needs --lens DIR with a lens for {tap}")));
        }
        Ok(choice)
    }

    fn args(self, terms: &Terms<'_>, prompt: usize) -> PolicyArgs {
        let policy = match self {
            Contender::Random => PolicyKind::Random,
            Contender::Gradient => PolicyKind::Gradient,
            Contender::GradientReleased => PolicyKind::GradientReleased,
            Contender::HardPrompts => PolicyKind::HardPrompts,
            Contender::Scan | Contender::Exhaustive => PolicyKind::Exhaustive,
            Contender::Auto | Contender::AutoLearning | Contender::Lens => PolicyKind::Auto,
        };
        let settings = Settings::default();
        PolicyArgs {
            policy,
            lens: terms.lens.filter(|_| self == Contender::Lens).map(Path::to_owned),
            certify: false,
            epsilon: None,
            allclose: None,
            noise: 0.0,
            rivals: None,
            beam: settings.beam,
            go_on: false,
            max_candidates: None,
            max_seconds: Some(terms.budget_seconds),
            memory: settings.memory_budget >> 20,
            snap: 1,
            seed: terms.seed + prompt as u64,
        }
    }
}
