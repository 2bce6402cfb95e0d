//! The options of recovery: the source of candidates, the rule of acceptance, and the budget.

mod checks;
mod kind;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::Args;
use inject_sipit::{
    Acceptance, Policy, PolicyChoice, Settings,
    models::{Decoder, Tap},
    settings::{Budget, ComputedIn, OnFailure, Scan},
    sources::{Gradient, HardPrompts, LensProposals, Prior, RandomOrder, Secant},
};

pub(crate) use self::kind::PolicyKind;
use crate::{
    lenses::{Checksums, required_lens},
    options::{LoadedModel, Megabytes, room},
    outcome::Failure,
};

/// The source of candidates, the rule by which one counts as the token, and the budget.
#[derive(Args, Clone, Debug, serde::Serialize)]
#[command(next_help_heading = "Recovery")]
pub(crate) struct PolicyOptions {
    /// The source of candidates
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = PolicyKind::Auto)]
    pub(crate) policy: PolicyKind,
    /// The folder of the model's lenses, as `inject lens` writes them
    #[arg(long, value_name = "FOLDER")]
    // A file of results names the lens by its content.
    #[serde(skip)]
    pub(crate) lens: Option<PathBuf>,
    /// Do not compare a lens, or the states of a store, with their checksums
    #[arg(long)]
    #[serde(skip)]
    pub(crate) skip_checksums: bool,
    /// Test the whole vocabulary at every position: exact margins, and certainty instead of verification
    #[arg(long)]
    pub(crate) certify: bool,
    /// Accept a candidate within this L2 distance instead of the noise floor: the rule of the paper
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true, conflicts_with_all = ["allclose", "noise"])]
    pub(crate) epsilon: Option<f64>,
    /// Accept a candidate as torch.allclose does: the rule of the published code, which uses 1e-5,1e-5
    #[arg(long, value_name = "RTOL,ATOL", value_delimiter = ',', num_args = 1, conflicts_with = "noise")]
    pub(crate) allclose: Option<Vec<f64>>,
    /// An upper bound on the L2 norm of the noise that was added to every state
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, default_value_t = 0.0)]
    pub(crate) noise: f64,
    /// The format that the producer of the states computed in: auto, f64, f32, bf16, f16, or int8, q8_0, int4, nf4, fp4, q4_0, q4_1
    /// for its weights. auto estimates the noise of a narrow format if no candidate fits in f32, and then tries rounded weights
    #[arg(long, value_name = "FORMAT", value_parser = parse_computed_in, default_value = "auto", conflicts_with_all = ["epsilon", "allclose"])]
    #[serde(serialize_with = "name_of_format")]
    pub(crate) computed_in: ComputedIn,
    /// Other candidates to test before one that fits is accepted [default: 0, or 64 with --noise]
    #[arg(long, value_name = "COUNT")]
    pub(crate) rivals: Option<usize>,
    /// Hypotheses to keep while a position is ambiguous
    #[arg(long, value_name = "COUNT", default_value_t = Settings::default().beam)]
    pub(crate) beam: usize,
    /// If no candidate fits, continue after the nearest one instead of stopping
    #[arg(long)]
    pub(crate) go_on: bool,
    /// The most candidates to test at each position
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_candidates: Option<usize>,
    /// The most seconds to spend on each prompt, and on the search for the tap of a file that does not name it
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) max_seconds: Option<f64>,
    /// Megabytes that one batch may take. If given, a prompt that needs more, or a compressed file of states that unpacks to more, is
    /// refused [default: 512]
    #[arg(long, value_name = "MB")]
    #[serde(serialize_with = "or_default")]
    pub(crate) memory: Option<Megabytes>,
    /// Candidates of the gradient policies after each step. The paper and its code test one
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) snap: NonZeroUsize,
    /// The seed of the policies random, gradient, gradient-released and hard-prompts [default: 8]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
}

/// Writes the memory of a batch as files of results have always had it, given or not.
fn or_default<S: serde::Serializer>(given: &Option<Megabytes>, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&given.unwrap_or(Megabytes::of_bytes(Settings::default().memory_budget)), to)
}

/// The seed of policies where none is given.
const SEED: u64 = 8;

impl Default for PolicyOptions {
    /// The defaults of the command line.
    fn default() -> Self {
        let settings = Settings::default();
        PolicyOptions {
            policy: PolicyKind::Auto,
            lens: None,
            skip_checksums: false,
            certify: false,
            epsilon: None,
            allclose: None,
            noise: 0.0,
            computed_in: ComputedIn::Auto,
            rivals: None,
            beam: settings.beam,
            go_on: false,
            max_candidates: None,
            max_seconds: None,
            memory: None,
            snap: NonZeroUsize::MIN,
            seed: None,
        }
    }
}

impl PolicyOptions {
    /// Checks that prompts of these lengths fit into memory.
    ///
    /// # Errors
    ///
    /// As [`room::check_longest`].
    pub(crate) fn check_longest(
        &self,
        decoder: &Decoder,
        lens: impl IntoIterator<Item = usize>,
    ) -> Result<(), Failure> {
        room::check_longest(decoder, 1, 0, lens, self.memory)
    }

    /// The settings these options ask for.
    ///
    /// # Errors
    ///
    /// [`Failure`] if an option is not a sensible number, or would have no effect.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        self.check_numbers()?;
        self.check_effects()?;
        let acceptance = match (self.epsilon, self.allclose.as_deref()) {
            (Some(epsilon), _) => Acceptance::Ball { epsilon },
            (None, Some(&[rtol, atol])) => Acceptance::AllClose { rtol, atol },
            (None, Some(found)) => {
                let found = found.len();
                return Err(Failure::usage(format!("--allclose: found {found} numbers, expected RTOL,ATOL")));
            }
            (None, None) => Acceptance::NoiseFloor { added: self.noise },
        };
        let seconds = |seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|error| Failure::usage(format!("--max-seconds {seconds}: {error}")))
        };
        Ok(Settings::new()
            .with_acceptance(acceptance)
            .with_computed_in(self.computed_in)
            .with_scan(if self.tests_everything() { Scan::Whole } else { Scan::AsNeeded })
            .with_rivals(self.rivals.unwrap_or(if self.noise > 0.0 { 64 } else { 0 }))
            .with_beam(self.beam)
            .with_on_failure(if self.go_on { OnFailure::GoOn } else { OnFailure::Stop })
            .with_budget(
                Budget::unlimited()
                    .with_candidates(self.max_candidates)
                    .with_time(self.max_seconds.map(seconds).transpose()?),
            )
            .with_memory_budget(Megabytes::bytes_or(self.memory, Settings::default().memory_budget)))
    }

    /// Whether the whole vocabulary is tested at every position.
    fn tests_everything(&self) -> bool {
        self.certify || self.policy == PolicyKind::Exhaustive
    }

    /// Whether the user bounds the distances, so that no noise of a producer is estimated.
    pub(crate) fn has_own_bound(&self) -> bool {
        self.epsilon.is_some() || self.allclose.is_some() || self.noise > 0.0
    }

    /// The policy for prompts of `positions` tokens at `tap`, and the reason for it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if `--lens` has no lens for the tap, or one that is damaged or was made for other weights.
    pub(crate) fn choose(
        &self,
        model: &LoadedModel,
        tap: Tap,
        positions: usize,
    ) -> Result<PolicyChoice, Failure> {
        let bos = model.first_token();
        let prior = |limit: usize| Policy::new().then_up_to(limit, Prior::new().beginning_with(bos));
        let searching = |source: Gradient| Policy::new().then(source.snapping(self.snap));
        let named = |policy: Policy| PolicyChoice::new(policy, "as requested");
        let seed = self.seed.unwrap_or(SEED);
        let checksums = if self.skip_checksums { Checksums::Skipped } else { Checksums::Compared };
        Ok(match self.policy {
            PolicyKind::Auto => PolicyChoice::auto(
                &model.decoder,
                tap,
                positions,
                self.lens
                    .as_deref()
                    .map(|folder| required_lens(folder, model, tap, checksums))
                    .transpose()?,
                bos,
            ),
            PolicyKind::Lens => match &self.lens {
                Some(folder) => named(
                    Policy::new()
                        .then_up_to(1024, LensProposals::new(required_lens(folder, model, tap, checksums)?)),
                ),
                None => return Err(Failure::usage("--policy lens needs --lens FOLDER")),
            },
            PolicyKind::Prior => named(prior(1024)),
            PolicyKind::Secant => named(prior(80).then_up_to(2048, Secant::new())),
            PolicyKind::Random => named(Policy::new().then(RandomOrder::seeded(seed))),
            PolicyKind::Gradient => named(searching(Gradient::printed(seed))),
            PolicyKind::GradientReleased => named(searching(Gradient::released(seed))),
            PolicyKind::HardPrompts => named(Policy::new().then(HardPrompts::seeded(seed))),
            PolicyKind::Scan | PolicyKind::Exhaustive => named(Policy::new()),
        })
    }
}

/// Reads the value of `--computed-in`.
fn parse_computed_in(text: &str) -> Result<ComputedIn, String> {
    match text {
        "auto" => Ok(ComputedIn::Auto),
        _ => text
            .parse()
            .map(ComputedIn::Format)
            .map_err(|error: inject_sipit::models::format::UnknownFormat| format!("{error}, or `auto`")),
    }
}

fn name_of_format<S: serde::Serializer>(computed_in: &ComputedIn, serializer: S) -> Result<S::Ok, S::Error> {
    match computed_in {
        ComputedIn::Format(format) => serializer.collect_str(format),
        _ => serializer.serialize_str("auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_asks_for_rivals() {
        let settings = PolicyOptions { noise: 0.5, ..PolicyOptions::default() }.settings().unwrap();
        assert_eq!((settings.rivals, settings.acceptance), (64, Acceptance::NoiseFloor { added: 0.5 }));
    }
}
