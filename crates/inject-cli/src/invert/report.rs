//! The JSON of a recovered prompt. docs/schema/ holds the schemas of these types.

mod position;
mod producer;
mod rule;
mod stage;

use std::collections::BTreeMap;

use inject_sipit::{
    Acceptance, Inversion, PolicyChoice, Settings,
    inversion::Cost,
    models::{Model, Tap},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    position::{NoiseName, PositionReport, VerdictName},
    producer::ProducerReport,
    rule::AcceptanceRule,
    stage::{StageReport, stages},
};

use super::{
    change::Change,
    likely_cause::{Describable, LikelyCause},
};
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
    /// if positions that are not settled, or rows of a generation after the prompt, leave it unknown.
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
    /// How the producer computed the states; absent if that made no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) producer: Option<ProducerReport>,
    /// The row of the file at each position; absent if the rows were in the order of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Vec<usize>>,
    /// What the text does not show, such as a BOS before another; absent if there is nothing to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// The likeliest cause if the prompt is not recovered; null if it is.
    pub(super) likely_cause: Option<LikelyCause>,
    /// A result for each position of the prompt, in order.
    pub(super) positions: Vec<PositionReport>,
    /// Seconds that the inversion took; absent from a file of results, whose lines depend on the states alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<f64>,
    /// Candidates whose states were compared with the given states.
    pub(super) candidates_tested: usize,
    /// The cost of each stage: drafts, sources of candidates, scan, and so on. In a file of results without the calibration, which is
    /// measured once for all prompts.
    pub(super) cost: BTreeMap<String, StageReport>,
}

impl Recovered {
    /// Creates the report of an inversion, compared with the prompt if that is known. It has times only if the seconds that the
    /// inversion took are given, and is a function of the states alone otherwise.
    pub(super) fn new(
        model: &Model,
        inversion: &Inversion,
        prompt: Option<&[u32]>,
        seconds: Option<f64>,
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
        let recovered = Recovered {
            verified: inversion.is_verified(),
            certain: inversion.is_certain(),
            equals_prompt,
            token_ids,
            text,
            text_encodes_back,
            change: Change::of(&inversion.transformation),
            producer: inversion.producer.and_then(ProducerReport::of),
            order: None,
            notes: bos_twice(model, &leading).into_iter().collect(),
            likely_cause: None,
            positions,
            seconds,
            candidates_tested: inversion.candidates_tested(),
            cost: stages(inversion),
        };
        Ok(if seconds.is_some() { recovered } else { recovered.of_states_alone() })
    }

    /// Creates the report of a prompt of which nothing was tested.
    pub(super) fn left_out(model: &Model, positions: usize, likely_cause: LikelyCause) -> Self {
        Recovered {
            verified: false,
            certain: false,
            equals_prompt: None,
            token_ids: vec![None; positions],
            text: model.tokenizer().is_ok().then(String::new),
            text_encodes_back: None,
            change: None,
            producer: None,
            order: None,
            notes: Vec::new(),
            likely_cause: Some(likely_cause),
            positions: (0..positions).map(PositionReport::open).collect(),
            seconds: None,
            candidates_tested: 0,
            cost: BTreeMap::new(),
        }
    }

    /// The part that depends on the states alone: neither on the time that their inversion took, nor on the prompts before it, which may
    /// have paid for the calibration.
    pub(super) fn of_states_alone(mut self) -> Self {
        self.cost.remove(Cost::CALIBRATION);
        let cost = self.cost.into_iter().map(|(name, stage)| (name, stage.without_seconds()));
        Recovered { seconds: None, cost: cost.collect(), ..self }
    }

    /// Adds the likeliest cause, if the prompt is not recovered from these states at `tap`. `missing` are the positions without a state.
    pub(super) fn with_likely_cause(
        self,
        settings: &Settings,
        tap: Tap,
        rows: &Describable,
        missing: &[usize],
    ) -> Self {
        let of_missing = LikelyCause::of_missing(&self, missing);
        let likely_cause = of_missing.or_else(|| LikelyCause::of(&self, settings, tap, rows));
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

    /// Whether a lens proposed tokens.
    pub(super) fn has_lens(&self) -> bool {
        self.cost.contains_key("lens")
    }

    /// States computed up to the tap.
    fn states(&self) -> usize {
        self.cost.values().map(|stage| stage.states).sum()
    }
}

/// Says that BOS was put before a text that had one: the text does not show it.
fn bos_twice(model: &Model, ids: &[u32]) -> Option<String> {
    let &[first, second, ..] = ids else { return None };
    let tokenizer = model.tokenizer().ok()?;
    let twice = first == second && tokenizer.begins_with_bos(&ids[..2]);
    twice.then(|| "the prompt begins with BOS twice; the text shows neither".to_owned())
}

/// Whether settled tokens equal those of a prompt. A single one that differs decides; one that is not settled leaves it unknown, and so do
/// further tokens that were generated after the prompt.
fn equals(positions: &[PositionReport], prompt: &[u32]) -> Option<bool> {
    let settled = |row: &PositionReport| !matches!(row.verdict, VerdictName::Failed | VerdictName::Open);
    let differs = |(row, id): (&PositionReport, &u32)| row.verdict.is_verified() && row.token_id != Some(*id);
    if positions.len() < prompt.len() || positions.iter().zip(prompt).any(differs) {
        return Some(false);
    }
    if positions.len() > prompt.len() || !positions.iter().all(settled) {
        return None;
    }
    // Of an ambiguous position the other token may be right.
    let all = positions.iter().zip(prompt).all(|(row, id)| row.token_id == Some(*id));
    all.then_some(true)
}

impl Report {
    pub(super) fn new(
        model: &LoadedModel,
        choice: &PolicyChoice,
        acceptance: Acceptance,
        tap: Tap,
        recovered: Recovered,
        seconds: f64,
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
            forward_pass_equivalents: seconds / forward_seconds,
            gflop_per_second: flop / seconds / 1e9,
            recovered,
        })
    }
}
