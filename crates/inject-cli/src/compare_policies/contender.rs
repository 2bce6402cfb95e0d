//! The policies that are compared, each with its settings.

use std::{fmt, path::Path, str::FromStr, sync::LazyLock};

use clap::{ValueEnum, builder::PossibleValue};
use inject_sipit::{PolicyChoice, Settings, models::Tap};

use crate::{
    options::{LoadedModel, PolicyKind, PolicyOptions},
    outcome::Failure,
};

/// A policy that is compared. Its name is that of the policy of `inject invert`, if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A policy of `inject invert`, which forgets each prompt before the next.
    Policy(PolicyKind),
    /// The automatic choice, which keeps what it learned from earlier prompts.
    AutoLearning,
    /// The automatic choice with a lens.
    AutoWithLens,
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
    /// The policies that are compared by default, in the order of the table.
    pub(crate) const DEFAULT: [Contender; 9] = [
        Contender::Policy(PolicyKind::Random),
        Contender::Policy(PolicyKind::Gradient),
        Contender::Policy(PolicyKind::GradientReleased),
        Contender::Policy(PolicyKind::HardPrompts),
        Contender::Policy(PolicyKind::Scan),
        Contender::Policy(PolicyKind::Exhaustive),
        Contender::Policy(PolicyKind::Auto),
        Contender::AutoLearning,
        Contender::AutoWithLens,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Contender::Policy(kind) => match kind {
                PolicyKind::Auto => "ours without lens",
                PolicyKind::Lens => "lens, then scan",
                PolicyKind::Prior => "prior, then scan",
                PolicyKind::Secant => "prior and secant, then scan",
                PolicyKind::Random => "random order (brute force)",
                PolicyKind::Gradient => "gradient (SipIt as printed)",
                PolicyKind::GradientReleased => "gradient (SipIt as released)",
                PolicyKind::HardPrompts => "hard prompts (PEZ)",
                PolicyKind::Scan => "batched scan",
                PolicyKind::Exhaustive => "batched scan, whole vocabulary",
            },
            Contender::AutoLearning => "the same, learning on",
            Contender::AutoWithLens => "ours with lens",
        }
    }

    /// The name on the command line and in files.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns whether the policy reads a lens.
    pub(crate) fn needs_lens(self) -> bool {
        matches!(self, Contender::AutoWithLens | Contender::Policy(PolicyKind::Lens))
    }

    /// Returns whether one policy inverts all prompts, so that it may learn from earlier ones.
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
        if self == Contender::Policy(PolicyKind::HardPrompts) {
            // A position that no draft settles would be scanned, and a scan does not belong to this baseline.
            settings.budget.candidates = Some(1);
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
            Contender::Policy(kind) => kind,
            Contender::AutoLearning | Contender::AutoWithLens => PolicyKind::Auto,
        };
        PolicyOptions {
            policy,
            lens: terms.lens.filter(|_| self.needs_lens()).map(Path::to_owned),
            max_seconds: Some(terms.max_seconds),
            seed: policy.draws().then(|| terms.seed + prompt as u64),
            ..PolicyOptions::default()
        }
    }
}

impl ValueEnum for Contender {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Contender>> = LazyLock::new(|| {
            let policies = PolicyKind::value_variants().iter().map(|&kind| Contender::Policy(kind));
            policies.chain([Contender::AutoLearning, Contender::AutoWithLens]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Contender::Policy(kind) => kind.to_possible_value(),
            Contender::AutoLearning => Some(
                PossibleValue::new("auto-learning")
                    .help("auto, which also uses what it learned from earlier prompts"),
            ),
            Contender::AutoWithLens => {
                Some(PossibleValue::new("auto-with-lens").help("auto with a lens (needs --lens)"))
            }
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Contender as ValueEnum>::from_str(text, false)
    }
}

inject_sipit::models::serialise_as_text!(Contender);

#[cfg(test)]
impl schemars::JsonSchema for Contender {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Contender".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<String> =
            Contender::value_variants().iter().map(|contender| contender.name()).collect();
        schemars::json_schema!({
            "description": "A policy that is compared, by the name that `--policies` takes.",
            "type": "string",
            "enum": names,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_of_an_inversion_can_be_compared_under_its_own_name() {
        for &kind in PolicyKind::value_variants() {
            let name = kind.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(name.parse(), Ok(Contender::Policy(kind)));
        }
        for &contender in Contender::value_variants() {
            assert_eq!(contender.name().parse(), Ok(contender));
        }
        assert_eq!("batched".parse::<Contender>(), Err("invalid variant: batched".to_owned()));
    }
}
