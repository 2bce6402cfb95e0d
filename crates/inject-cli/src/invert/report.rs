//! The JSON of a recovered prompt. docs/schema/ holds the schemas of these types.

use std::collections::BTreeMap;

use inject_sipit::{
    Acceptance, Inversion, NoiseOrigin, PolicyChoice, Position, Verdict,
    collisions::Ranked,
    models::{Model, Tap},
};
use serde::{Deserialize, Serialize};

use super::{change::Change, likely_cause::LikelyCause};
use crate::{
    forward::forward_seconds,
    options::LoadedModel,
    outcome::{Failure, Outcome},
};

/// The result of `inject invert` for one prompt: the recovered tokens, and the measurements of their recovery.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The model: a Hub id, the name of a folder, or `bundled`.
    pub(super) model: String,
    /// The tap of the states.
    pub(super) tap: String,
    /// The sources of candidates, in the order in which they were asked.
    pub(super) policy: String,
    /// The reason for this policy.
    pub(super) reason: String,
    /// The rule by which a candidate counts as the token.
    pub(super) acceptance: AcceptanceRule,
    /// The recovered prompt, position by position.
    pub(super) recovered: Recovered,
    /// Seconds of one forward pass of a prompt of this length to the tap.
    pub(super) forward_seconds: f64,
    /// The time of the inversion divided by that of one forward pass.
    pub(super) forward_pass_equivalents: f64,
    /// Billions of floating-point operations in matrix products, per second of the inversion.
    pub(super) gflop_per_second: f64,
}

/// A prompt, completely or partly recovered.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Recovered {
    /// Whether every position is verified or certain, apart from those that were given.
    pub(super) verified: bool,
    /// Whether every position is certain: no other prompt of this length has these states.
    pub(super) certain: bool,
    /// Whether the tokens equal those of the prompt that was given: false if a settled one differs, null if no prompt was given, or
    /// if positions that are not settled leave it unknown.
    pub(super) equals_prompt: Option<bool>,
    /// The tokens by id; null at open positions.
    pub(super) token_ids: Vec<Option<u32>>,
    /// The text of the tokens before the first position that failed or is open; null if the model has no tokenizer.
    pub(super) text: Option<String>,
    /// Whether the text encodes to the recovered tokens again; null if it is not the whole prompt.
    pub(super) text_encodes_back: Option<bool>,
    /// The change that the producer made to all states; absent if they are those of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
    /// The row of the file at each position; absent if the rows were in the order of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Vec<usize>>,
    /// The likeliest cause if the prompt is not recovered; null if it is.
    pub(super) likely_cause: Option<LikelyCause>,
    /// Every position, in order.
    pub(super) positions: Vec<PositionReport>,
    /// Seconds that the inversion took.
    pub(super) seconds: f64,
    /// Candidates whose states were compared with the ones given.
    pub(super) candidates_tested: usize,
    /// The cost of each stage: drafts, sources of candidates, scan, and so on.
    pub(super) cost: BTreeMap<String, StageReport>,
}

/// One position of a prompt.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PositionReport {
    /// The position, from 0.
    pub(super) position: usize,
    /// The verdict on the position.
    pub(super) verdict: VerdictName,
    /// The token; null at an open position. At a failed position it is the nearest of all.
    pub(super) token_id: Option<u32>,
    /// Tokens that fit an ambiguous position, the nearest first.
    pub(super) candidates: Vec<Candidate>,
    /// Whether still more tokens fit than those listed.
    pub(super) more_candidates: bool,
    /// The distance of the token's state from the one given.
    pub(super) distance: Option<f64>,
    /// The largest distance that an accepted candidate can have: the noise floor, or what another rule allows.
    pub(super) tolerance: Option<f64>,
    /// The origin of the tolerance: the noise of computing, an estimate of the producer's noise, or a rule that the user chose.
    pub(super) noise: Option<NoiseName>,
    /// The nearest other token tested.
    pub(super) runner_up: Option<Candidate>,
    /// The runner-up's distance minus the token's: exact if the whole vocabulary was tested, otherwise an upper bound.
    pub(super) margin: Option<f64>,
    /// The distance of the runner-up as a multiple of that of the token.
    pub(super) ratio: Option<f64>,
    /// The number of candidates tested at this position.
    pub(super) candidates_tested: usize,
    /// The source of the token; null at an open position.
    pub(super) found_by: Option<String>,
    /// Other tokens that fitted, until a later position excluded them.
    pub(super) ruled_out: Vec<RuledOutReport>,
}

/// The verdict on a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerdictName {
    /// One candidate of the whole vocabulary fits, and its margin exceeds what noise can hide.
    Certain,
    /// A candidate fits, and no other is known to fit.
    Verified,
    /// Several candidates fit.
    Ambiguous,
    /// No candidate of the whole vocabulary fits.
    Failed,
    /// The token was given, and nothing was tested.
    Given,
    /// Not settled: the budget was spent, or an earlier position failed.
    Open,
}

/// The origin of the distance within which a candidate fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum NoiseName {
    /// The noise of computing in f32, rounding, and noise that was bounded by an option.
    Computing,
    /// The noise of a producer that computes in a narrow format, estimated.
    Producer,
    /// A rule that the user chose.
    Rule,
}

impl From<NoiseOrigin> for NoiseName {
    fn from(origin: NoiseOrigin) -> Self {
        match origin {
            NoiseOrigin::Computing => NoiseName::Computing,
            NoiseOrigin::Producer => NoiseName::Producer,
            _ => NoiseName::Rule,
        }
    }
}

/// A token and the distance of its state.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Candidate {
    /// The id of the token.
    pub(super) token_id: u32,
    /// The distance of its state from the one given.
    pub(super) distance: f64,
}

/// A token that fitted a position and that a later position excluded.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RuledOutReport {
    /// The id of the token.
    token_id: u32,
    /// The distance of its state at its own position.
    distance: f64,
    /// The later position at which nothing fitted after it.
    at_position: usize,
    /// The distance of the nearest candidate tested there.
    nearest: f64,
    /// The number of candidates tested at that position.
    candidates_tested: usize,
}

/// The cost of one stage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StageReport {
    /// Candidates whose states were compared with the one given.
    pub(crate) candidates: usize,
    /// States computed up to the tap.
    pub(crate) states: usize,
    /// Batches computed. A pass that several prompts share counts in parts.
    pub(crate) batches: f64,
    /// Seconds spent on choosing candidates.
    pub(crate) choosing_seconds: f64,
    /// Seconds spent on computing and comparing their states.
    pub(crate) testing_seconds: f64,
}

/// The rule by which a candidate counts as the token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub(crate) enum AcceptanceRule {
    /// Within the noise floor of computing the state.
    NoiseFloor {
        /// An upper bound on the norm of noise added to every state.
        added: f64,
    },
    /// Within a fixed L2 distance.
    Ball {
        /// The L2 distance within which a candidate fits.
        epsilon: f64,
    },
    /// Each coordinate within `atol + rtol * |x|`.
    Allclose {
        /// The tolerance as a share of each coordinate.
        rtol: f64,
        /// The tolerance that is the same for each coordinate.
        atol: f64,
    },
}

impl From<&Verdict> for VerdictName {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Certain => VerdictName::Certain,
            Verdict::Verified => VerdictName::Verified,
            Verdict::Ambiguous { .. } => VerdictName::Ambiguous,
            Verdict::Failed => VerdictName::Failed,
            Verdict::Given => VerdictName::Given,
            _ => VerdictName::Open,
        }
    }
}

impl VerdictName {
    /// Whether the token is verified, or even certain.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, VerdictName::Verified | VerdictName::Certain)
    }
}

impl AcceptanceRule {
    /// The rule as it is reported.
    ///
    /// # Errors
    ///
    /// [`Failure`] for a rule that this program does not know.
    pub(crate) fn of(acceptance: Acceptance) -> Result<Self, Failure> {
        match acceptance {
            Acceptance::NoiseFloor { added } => Ok(AcceptanceRule::NoiseFloor { added }),
            Acceptance::Ball { epsilon } => Ok(AcceptanceRule::Ball { epsilon }),
            Acceptance::AllClose { rtol, atol } => Ok(AcceptanceRule::Allclose { rtol, atol }),
            other => Err(Failure::new(format!("no report for the rule {other:?}"))),
        }
    }
}

impl From<Ranked> for Candidate {
    fn from(ranked: Ranked) -> Self {
        Candidate { token_id: ranked.id, distance: ranked.distance }
    }
}

/// The cost of an inversion by stages.
pub(crate) fn stages(inversion: &Inversion) -> BTreeMap<String, StageReport> {
    let stages = inversion.cost.stages().iter().map(|(name, stage)| {
        let report = StageReport {
            candidates: stage.candidates,
            states: stage.states,
            batches: stage.batches,
            choosing_seconds: stage.choosing_seconds,
            testing_seconds: stage.testing_seconds,
        };
        ((*name).to_owned(), report)
    });
    stages.collect()
}

impl Recovered {
    /// The report of an inversion that took so many seconds, compared with the prompt if that is known.
    pub(super) fn new(
        model: &Model,
        inversion: &Inversion,
        prompt: Option<&[u32]>,
        seconds: f64,
    ) -> Result<Self, Failure> {
        let positions: Vec<PositionReport> = inversion.positions.iter().map(PositionReport::new).collect();
        let token_ids: Vec<Option<u32>> = positions.iter().map(|row| row.token_id).collect();
        let leading = inversion.token_ids();
        let whole = leading.len() == token_ids.len();
        let (text, text_encodes_back) = match model.tokenizer() {
            Err(_) => (None, None),
            Ok(tokenizer) if whole => {
                let text = inversion.text(tokenizer)?;
                (Some(text.text), Some(text.encodes_back))
            }
            Ok(tokenizer) => (Some(tokenizer.decode(&leading)?), None),
        };
        let equals_prompt = prompt.and_then(|prompt| equals(&positions, prompt));
        Ok(Recovered {
            verified: inversion.is_verified(),
            certain: inversion.is_certain(),
            equals_prompt,
            token_ids,
            text,
            text_encodes_back,
            change: Change::of(&inversion.transformation),
            order: None,
            likely_cause: None,
            positions,
            seconds,
            candidates_tested: inversion.candidates_tested(),
            cost: stages(inversion),
        })
    }

    /// Adds the likeliest cause, if the prompt is not recovered from these states at `tap`.
    pub(super) fn with_likely_cause(self, acceptance: Acceptance, tap: Tap) -> Self {
        let likely_cause = LikelyCause::of(&self, acceptance, tap);
        Recovered { likely_cause, ..self }
    }

    /// Recovered is what is verified, and equal to the prompt where that is known.
    pub(super) fn outcome(&self) -> Outcome {
        match (self.equals_prompt, self.verified) {
            (Some(false), _) => Outcome::Contradicted,
            (_, true) => Outcome::Complete,
            (_, false) => Outcome::NotRecovered,
        }
    }

    /// States computed up to the tap.
    fn states(&self) -> usize {
        self.cost.values().map(|stage| stage.states).sum()
    }
}

/// Whether settled tokens equal those of a prompt. A single one that differs decides; one that is not settled leaves it unknown.
fn equals(positions: &[PositionReport], prompt: &[u32]) -> Option<bool> {
    let settled = |row: &PositionReport| !matches!(row.verdict, VerdictName::Failed | VerdictName::Open);
    let differs = |(row, id): (&PositionReport, &u32)| row.verdict.is_verified() && row.token_id != Some(*id);
    if positions.len() != prompt.len() || positions.iter().zip(prompt).any(differs) {
        return Some(false);
    }
    if !positions.iter().all(settled) {
        return None;
    }
    // Of an ambiguous position the other token may be right.
    let all = positions.iter().zip(prompt).all(|(row, id)| row.token_id == Some(*id));
    all.then_some(true)
}

impl PositionReport {
    fn new(position: &Position) -> Self {
        let (candidates, more_candidates) = match &position.verdict {
            Verdict::Ambiguous { candidates, more } => (&candidates[..], *more),
            _ => (&[][..], false),
        };
        let ruled_out = position.ruled_out.iter().map(|token| RuledOutReport {
            token_id: token.token_id,
            distance: token.distance,
            at_position: token.at_position,
            nearest: token.nearest,
            candidates_tested: token.candidates_tested,
        });
        // The nearest candidate tested at an open position is not its token.
        let kept = position.kept.as_ref().filter(|_| !position.verdict.is_open());
        let token_id = kept.map(|kept| kept.token_id);
        let kept = kept.filter(|_| position.verdict != Verdict::Given);
        PositionReport {
            position: position.position,
            verdict: VerdictName::from(&position.verdict),
            token_id,
            candidates: candidates.iter().copied().map(Candidate::from).collect(),
            more_candidates,
            distance: kept.map(|kept| kept.distance),
            tolerance: kept.map(|kept| kept.noise_floor),
            noise: kept.map(|kept| NoiseName::from(kept.noise)),
            runner_up: kept.and_then(|kept| kept.runner_up).map(Candidate::from),
            margin: kept.and_then(|kept| kept.margin),
            ratio: kept.and_then(|_| position.ratio()),
            candidates_tested: position.candidates_tested,
            found_by: kept.map(|kept| kept.found_by.to_owned()),
            ruled_out: ruled_out.collect(),
        }
    }
}

impl Report {
    pub(super) fn new(
        model: &LoadedModel,
        choice: &PolicyChoice,
        acceptance: Acceptance,
        tap: Tap,
        recovered: Recovered,
    ) -> Result<Self, Failure> {
        // Any tokens will do where some are not known: the time depends on their number alone.
        let token_ids: Vec<u32> = recovered.token_ids.iter().map(|id| id.unwrap_or(0)).collect();
        let forward_seconds = forward_seconds(&model.decoder, &token_ids, tap)?;
        let flop = model.decoder.config().flops_per_token(tap) * recovered.states() as f64;
        Ok(Report {
            model: model.id().to_owned(),
            tap: tap.to_string(),
            policy: choice.policy.to_string(),
            reason: choice.reason.clone(),
            acceptance: AcceptanceRule::of(acceptance)?,
            forward_seconds,
            forward_pass_equivalents: recovered.seconds / forward_seconds,
            gflop_per_second: flop / recovered.seconds / 1e9,
            recovered,
        })
    }
}
