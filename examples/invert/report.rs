//! What is reported of a prompt: one JSON object.

use inject_examples::{Failure, forward_seconds};
use inject_sipit::{
    Choice, Cost, Inversion, Position, RuledOut, Verdict,
    models::{Model, Tap},
};

/// A prompt as it was recovered.
#[derive(serde::Serialize)]
pub(super) struct Recovered {
    pub(super) token_ids: Vec<u32>,
    /// None where the model has no tokenizer.
    pub(super) text: Option<String>,
    /// Whether the text encodes to the same ids again.
    pub(super) text_encodes_back: Option<bool>,
    /// Every position verified, and equal to the prompt where that is known.
    pub(super) exact: bool,
    pub(super) verdicts: Vec<Row>,
    pub(super) seconds: f64,
    pub(super) candidates_tested: usize,
    /// What each stage cost.
    pub(super) cost: Cost,
}

/// One position of the report.
#[derive(serde::Serialize)]
pub(super) struct Row {
    pub(super) position: usize,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    pub(super) token_id: u32,
    pub(super) distance: f64,
    pub(super) runner_up: Option<f64>,
    pub(super) runner_up_token_id: Option<u32>,
    pub(super) margin: Option<f64>,
    pub(super) noise_floor: f64,
    pub(super) candidates_tested: usize,
    pub(super) found_by: &'static str,
    pub(super) ruled_out: Vec<RuledOut>,
}

/// A single prompt, and what its recovery is measured by.
#[derive(serde::Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) tap: Tap,
    pub(super) policy: String,
    /// Why this policy.
    pub(super) reason: String,
    #[serde(flatten)]
    pub(super) recovered: Recovered,
    pub(super) forward_seconds: f64,
    pub(super) forward_pass_equivalents: f64,
    /// Matrix products alone, per second of the inversion.
    pub(super) gflop_per_second: f64,
}

impl Recovered {
    /// The report of an inversion that took so many seconds, beside the prompt where that is known.
    pub(super) fn new(
        model: &Model,
        inversion: &Inversion,
        prompt: Option<&[u32]>,
        seconds: f64,
    ) -> Result<Self, Failure> {
        let token_ids = inversion.token_ids();
        let text = match model.tokenizer() {
            Ok(tokenizer) => Some(inversion.text(tokenizer)?),
            Err(_) => None,
        };
        Ok(Recovered {
            exact: inversion.is_verified() && prompt.is_none_or(|prompt| prompt == token_ids),
            token_ids,
            text_encodes_back: text.as_ref().map(|text| text.encodes_back),
            text: text.map(|text| text.text),
            verdicts: inversion.positions.iter().map(Row::new).collect(),
            seconds,
            candidates_tested: inversion.candidates_tested(),
            cost: inversion.cost.clone(),
        })
    }

    /// States computed up to the tap.
    pub(super) fn states(&self) -> usize {
        self.cost.stages().values().map(|stage| stage.states).sum()
    }
}

impl Row {
    fn new(position: &Position) -> Self {
        Row {
            position: position.position,
            verdict: position.verdict.clone(),
            token_id: position.token_id,
            distance: position.distance,
            runner_up: position.runner_up.map(|ranked| ranked.distance),
            runner_up_token_id: position.runner_up.map(|ranked| ranked.id),
            margin: position.margin,
            noise_floor: position.noise_floor,
            candidates_tested: position.candidates_tested,
            found_by: position.found_by,
            ruled_out: position.ruled_out.clone(),
        }
    }
}

impl Report {
    pub(super) fn new(
        model: &Model,
        choice: &Choice,
        tap: Tap,
        inversion: &Inversion,
        prompt: Option<&[u32]>,
        seconds: f64,
    ) -> Result<Self, Failure> {
        let recovered = Recovered::new(model, inversion, prompt, seconds)?;
        let forward_seconds = forward_seconds(&model.decoder, &recovered.token_ids, tap)?;
        let flop = model.decoder.config().flops_per_token(tap) * recovered.states() as f64;
        Ok(Report {
            model: model.origin().id.clone(),
            tap,
            policy: choice.policy.to_string(),
            reason: choice.reason.clone(),
            recovered,
            forward_seconds,
            forward_pass_equivalents: seconds / forward_seconds,
            gflop_per_second: flop / seconds / 1e9,
        })
    }
}
