//! The options that say how a prompt is recovered.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use inject_sipit::{
    Acceptance, Budget, Choice, Gradient, HardPrompts, InvertError, Lens, LensError, LensProposals,
    OnFailure, Policy, Prior, RandomOrder, Scan, Secant, Settings,
    models::{Model, Tap},
};

use crate::Failure;

/// How candidates are chosen, and when one counts as the token.
#[derive(Args, Clone, Debug, serde::Serialize)]
pub struct PolicyArgs {
    /// How candidates are chosen
    #[arg(long, value_enum, default_value_t = PolicyKind::Auto)]
    pub policy: PolicyKind,
    /// The folder with the model's lenses, as the lens program writes them
    #[arg(long, value_name = "DIR")]
    pub lens: Option<PathBuf>,
    /// Scan the whole vocabulary at every position: exact margins, and a certificate
    #[arg(long)]
    pub certify: bool,
    /// Accept within this fixed L2 distance instead of the noise floor: the paper's rule
    #[arg(long, value_name = "DISTANCE", conflicts_with_all = ["allclose", "noise"])]
    pub epsilon: Option<f64>,
    /// Accept as torch.allclose does, with this rtol and atol: the published code's rule (it uses 1e-5,1e-5)
    #[arg(long, value_name = "RTOL,ATOL", value_delimiter = ',', num_args = 1, conflicts_with = "noise")]
    pub allclose: Option<Vec<f64>>,
    /// The L2 norm of noise that was added to every state, at most
    #[arg(long, value_name = "NORM", default_value_t = 0.0)]
    pub noise: f64,
    /// Candidates tested beside one that fits before it is accepted [default: 0, or 64 with --noise]
    #[arg(long)]
    pub rivals: Option<usize>,
    /// Hypotheses kept while a position is ambiguous
    #[arg(long, default_value_t = Settings::default().beam)]
    pub beam: usize,
    /// Go on from the nearest candidate where none fits, instead of stopping there
    #[arg(long)]
    pub go_on: bool,
    /// Candidates tested at each position, at most
    #[arg(long, value_name = "COUNT")]
    pub max_candidates: Option<usize>,
    /// Seconds spent on each prompt, at most
    #[arg(long, value_name = "SECONDS")]
    pub max_seconds: Option<f64>,
    /// Megabytes that one batch may take
    #[arg(long, value_name = "MB", default_value_t = Settings::default().memory_budget >> 20)]
    pub memory: usize,
    /// Candidates of the gradient policies after each step: the paper and its code test one
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub snap: usize,
    /// The seed of the policies that draw lots
    #[arg(long, default_value_t = 8)]
    pub seed: u64,
}

/// How candidates are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Whichever of the following is expected to cost least
    Auto,
    /// Drafts by a lens (needs --lens)
    Lens,
    /// The model's own next-token prior
    Prior,
    /// The prior, then a search along the tested candidates
    Secant,
    /// Uniform random order: the paper's brute force
    Random,
    /// The paper's gradient policy, as printed
    Gradient,
    /// The same, as the code released with the paper does it
    GradientReleased,
    /// Hard prompts (PEZ), adapted as in the paper
    HardPrompts,
    /// The whole vocabulary at every position
    Exhaustive,
}

impl PolicyArgs {
    /// The settings these options ask for.
    ///
    /// # Errors
    ///
    /// When `--allclose` has not two numbers, a time is no time, or an option would be without effect.
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.check_effects()?;
        let acceptance = match (self.epsilon, self.allclose.as_deref()) {
            (Some(epsilon), _) => Acceptance::Ball { epsilon },
            (None, Some(&[rtol, atol])) => Acceptance::AllClose { rtol, atol },
            (None, Some(found)) => {
                let found = found.len();
                return Err(Failure::new(format!("--allclose has {found} numbers, expected RTOL,ATOL")));
            }
            (None, None) => Acceptance::NoiseFloor { added: self.noise },
        };
        let whole = self.certify || self.policy == PolicyKind::Exhaustive;
        let time = self.max_seconds.map(Duration::try_from_secs_f64).transpose()?;
        Ok(Settings {
            acceptance,
            scan: if whole { Scan::Whole } else { Scan::AsNeeded },
            rivals: self.rivals.unwrap_or(if self.noise > 0.0 { 64 } else { 0 }),
            beam: self.beam,
            on_failure: if self.go_on { OnFailure::GoOn } else { OnFailure::Stop },
            budget: Budget { candidates: self.max_candidates, time },
            memory_budget: self.memory << 20,
            ..Settings::default()
        })
    }

    /// Refuses what would be passed over in silence.
    fn check_effects(&self) -> Result<(), Failure> {
        let policy = self.policy;
        let lens = matches!(policy, PolicyKind::Auto | PolicyKind::Lens);
        let gradient = matches!(policy, PolicyKind::Gradient | PolicyKind::GradientReleased);
        if self.lens.is_some() && !lens {
            return Err(Failure::new("--lens serves the policies auto and lens"));
        }
        if self.snap != 1 && !gradient {
            return Err(Failure::new("--snap serves the policies gradient and gradient-released"));
        }
        match (self.rivals, self.max_candidates) {
            (Some(rivals), Some(most)) if rivals >= most => Err(Failure::new(format!(
                "--rivals {rivals} beside the token itself are more than --max-candidates {most}"
            ))),
            _ => Ok(()),
        }
    }

    /// The policy for prompts of `positions` tokens at `tap`, and why it is this one.
    ///
    /// # Errors
    ///
    /// When a lens is asked for and there is none, or it was made for other weights.
    pub fn choose(&self, model: &Model, tap: Tap, positions: usize) -> Result<Choice, Failure> {
        let bos = beginning(model);
        let lens = || lens_for(self.lens.as_deref(), model, tap);
        let prior = |limit: usize| Prior::up_to(limit).beginning_with(bos);
        let searching = |source: Gradient| Policy::new().then(source.snapping(self.snap));
        let named = |policy: Policy| Choice { policy, reason: "as asked for".to_owned() };
        Ok(match self.policy {
            PolicyKind::Auto => Choice::auto(&model.decoder, tap, positions, lens()?, bos),
            PolicyKind::Lens => match lens()? {
                Some(lens) => named(Policy::new().then(LensProposals::new(lens))),
                None => return Err(Failure::new("--policy lens needs --lens DIR with a lens for this tap")),
            },
            PolicyKind::Prior => named(Policy::new().then(prior(1024))),
            PolicyKind::Secant => named(Policy::new().then(prior(80)).then(Secant::up_to(2048))),
            PolicyKind::Random => named(Policy::new().then(RandomOrder::seeded(self.seed))),
            PolicyKind::Gradient => named(searching(Gradient::printed(self.seed))),
            PolicyKind::GradientReleased => named(searching(Gradient::released(self.seed))),
            PolicyKind::HardPrompts => named(Policy::new().then(HardPrompts::seeded(self.seed))),
            PolicyKind::Exhaustive => named(Policy::new()),
        })
    }
}

/// The token that texts begin with, if the tokenizer puts one there.
pub fn beginning(model: &Model) -> Option<u32> {
    let tokenizer = model.tokenizer().ok()?;
    let ids = tokenizer.encode("a", inject_sipit::models::Bos::Auto).ok()?;
    tokenizer.begins_with_bos(&ids).then(|| ids[0])
}

/// The lens of a model for a tap, if there is a folder and one in it.
///
/// # Errors
///
/// When it was made for other weights, or is damaged.
pub fn lens_for(folder: Option<&Path>, model: &Model, tap: Tap) -> Result<Option<Arc<Lens>>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    match Lens::load(folder, tap, &model.weight_hash()?, &model.decoder.device()) {
        Ok(lens) => Ok(Some(Arc::new(lens))),
        Err(InvertError::Lens(LensError::File { source, .. }))
            if source.kind() == std::io::ErrorKind::NotFound && folder.is_dir() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
