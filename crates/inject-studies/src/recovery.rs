//! The recovery of whole prompts from disturbed states.
//!
//! Unlike [`decoding`](crate::decoding()), which gives the true prefix at each position, the inverter has to find the prefix itself.
//! A [`Condition`] says in which way the states differ from those of the model.

mod condition;
mod disturbed;

use crate::{
    completeness::Completeness,
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
};
use inject_sipit::{
    Inversion, InvertError, Inverter, Policy, Searcher, Settings, TargetStates,
    collisions::{Ranked, distance},
    models::{Decoder, Logits, NumberFormat, Tap, TokenBatch, host::to_host, silent},
    settings::{Budget, OnFailure, Scan},
};

pub use self::condition::Condition;
use self::disturbed::Disturbed;

/// The taps, conditions and limits under which [`recovery`] inverts prompts.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct RecoveryOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The conditions under which prompts are inverted.
    pub conditions: Vec<Condition>,
    /// The number of candidates tested at each position before the nearest that fits is accepted.
    pub rivals: usize,
    /// The largest number of candidates tested at each position. A vocabulary that is not larger is tested completely.
    pub most_candidates: usize,
    /// The seed of the disturbances.
    pub seed: u64,
}

impl RecoveryOptions {
    /// Creates options to measure each condition at each tap. At least `rivals` and at most `most_candidates` candidates are
    /// tested at each position.
    pub fn new(taps: Vec<Tap>, conditions: Vec<Condition>, rivals: usize, most_candidates: usize) -> Self {
        RecoveryOptions { taps, conditions, rivals, most_candidates, seed: 0 }
    }

    /// Sets the seed of the disturbances.
    pub fn with_seed(self, seed: u64) -> Self {
        RecoveryOptions { seed, ..self }
    }
}

/// The success of inversions under each condition, as [`recovery`] measures it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct RecoveryStudy {
    /// The recovery under each condition at each tap.
    pub recovered: Vec<Recovered>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The recovery of prompts under one condition at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Recovered {
    /// The change made to the states or weights.
    pub condition: Condition,
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The number of prompts inverted.
    pub prompts: usize,
    /// The number of prompts recovered exactly.
    pub exact: usize,
    /// The number of tokens of all prompts together.
    pub tokens: usize,
    /// The number of positions with the true token, whatever was found before them.
    pub right: usize,
    /// The number of prompts whose first wrong token is nearer to the given state than the true one, by the two distances. No
    /// decoder that takes the nearest state can find the true token there.
    pub gone: usize,
    /// The number of prompts whose first wrong token is farther than the true one: the search ended too early, or later positions
    /// misled it.
    pub not_found: usize,
    /// The number of prompts with a position that no candidate fitted.
    pub failed: usize,
    /// The mean number of candidates tested at each position.
    pub candidates_per_token: f64,
    /// The largest distance between a state and its changed version.
    pub largest_error: f64,
    /// The smallest ratio of a runner-up's distance to the noise floor, over all positions where one was tested.
    pub least_margin_over_floor: Option<f64>,
}

/// Inverts prompts under each condition, at each tap. A unit of the study is a condition at a tap.
///
/// The inverter is given an upper bound of the distance by which each state was moved. A number format implies that bound. For
/// other conditions it is the true error, which would have to be guessed outside a study. At each position the inverter accepts
/// the nearest candidate that fits. It replaces that candidate if later positions exclude it, and continues with the nearest one
/// if none fits. `policy` returns the sources of candidates for a model at a tap, and `model` identifies the weights in the
/// journal.
///
/// # Errors
///
/// [`StudyError`] if there are no prompts, the model or a policy fails, or the journal belongs to another study.
pub fn recovery(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    options: &RecoveryOptions,
    policy: &mut dyn FnMut(&Decoder, Tap) -> Result<Policy, InvertError>,
    run: Run<'_>,
) -> Result<RecoveryStudy, StudyError> {
    if prompts.is_empty() {
        return Err(StudyError::TooFewPrompts { found: 0, expected: 1 });
    }
    let about = Description::new(
        StudyName::Recovery,
        serde_json::json!({ "model": model, "prompts": fingerprint(prompts), "options": options,
        }),
    )
    .computed_by(decoder);
    let units: Vec<(Condition, Tap)> = options
        .conditions
        .iter()
        .flat_map(|&condition| options.taps.iter().map(move |&tap| (condition, tap)))
        .collect();
    // The units of one format are consecutive, so no more than two decoders are needed at a time.
    let mut quantised: Option<(NumberFormat, Decoder)> = None;
    let Finished { results: recovered, completeness } =
        run.complete(&about, units, |&(condition, tap), done| {
            if let Some(format) = condition.producing_weights()
                && quantised.as_ref().is_none_or(|(held, _)| *held != format)
            {
                quantised = Some((format, decoder.clone().with_weights_in(format)?));
            }
            let other = quantised.as_ref().map(|(_, other)| other);
            let producer = condition.producing_weights().and(other).unwrap_or(decoder);
            let inverting = condition.known_weights().and(other).unwrap_or(decoder);
            let case = Case { condition, tap, producer, decoder: inverting, options };
            let policy = policy(inverting, tap)?;
            case.carry_out(prompts, &policy, done)
        })?;
    Ok(RecoveryStudy {
        recovered: recovered.into_iter().map(|(_, recovered)| recovered).collect(),
        completeness,
    })
}

/// The inversion of prompts under one condition at one tap.
struct Case<'a> {
    condition: Condition,
    tap: Tap,
    producer: &'a Decoder,
    decoder: &'a Decoder,
    options: &'a RecoveryOptions,
}

impl Case<'_> {
    fn carry_out(
        &self,
        prompts: &[Vec<u32>],
        policy: &Policy,
        done: &mut dyn FnMut(f64),
    ) -> Result<Recovered, StudyError> {
        let mut recovered = Recovered {
            condition: self.condition,
            tap: self.tap,
            prompts: prompts.len(),
            exact: 0,
            tokens: 0,
            right: 0,
            gone: 0,
            not_found: 0,
            failed: 0,
            candidates_per_token: 0.0,
            largest_error: 0.0,
            least_margin_over_floor: None,
        };
        let inverter = Inverter::new(self.decoder, self.tap, self.settings())?;
        let mut searcher = inverter.searcher(policy);
        let mut candidates = 0;
        for (number, prompt) in prompts.iter().enumerate() {
            let disturbed = Disturbed::new(self, number, prompt, &inverter, &mut searcher)?;
            let inversion = inverter.invert(&disturbed.target, &mut searcher, &mut silent)?;
            candidates += inversion.candidates_tested();
            self.count(&mut recovered, prompt, &disturbed, &inversion)?;
            done((number + 1) as f64 / prompts.len() as f64);
        }
        recovered.candidates_per_token = candidates as f64 / recovered.tokens.max(1) as f64;
        Ok(recovered)
    }

    fn settings(&self) -> Settings {
        let most = self.options.most_candidates;
        let whole = most >= self.decoder.config().vocab_size;
        Settings::new()
            .with_scan(if whole { Scan::Whole } else { Scan::AsNeeded })
            .with_rivals(self.options.rivals)
            .with_on_failure(OnFailure::GoOn)
            .with_budget(Budget::unlimited().with_candidates((!whole).then_some(most)))
    }

    fn count(
        &self,
        recovered: &mut Recovered,
        prompt: &[u32],
        disturbed: &Disturbed,
        inversion: &Inversion,
    ) -> Result<(), StudyError> {
        let found = inversion.kept_ids();
        recovered.tokens += prompt.len();
        recovered.right += found.iter().zip(prompt).filter(|(found, id)| **found == Some(**id)).count();
        recovered.failed += usize::from(inversion.first_failure().is_some());
        recovered.largest_error = recovered.largest_error.max(disturbed.largest_error);
        let ratios = inversion
            .positions
            .iter()
            .filter_map(|p| Some(p.runner_up()?.distance / p.noise_floor()?))
            .filter(|r| r.is_finite());
        recovered.least_margin_over_floor =
            ratios.chain(recovered.least_margin_over_floor).min_by(f64::total_cmp);
        let wrong = found.iter().zip(prompt).position(|(found, id)| *found != Some(*id));
        match wrong.map(|at| (at, found[at])) {
            None => recovered.exact += 1,
            Some((_, None)) => recovered.not_found += 1,
            Some((at, Some(taken))) => {
                let [truth, taken] = self.distances(prompt, at, taken, &disturbed.target)?;
                match taken < truth {
                    true => recovered.gone += 1,
                    false => recovered.not_found += 1,
                }
            }
        }
        Ok(())
    }

    /// Returns the distances from the given state to the states of the true token and of `other`, after the true prefix.
    fn distances(
        &self,
        prompt: &[u32],
        at: usize,
        other: u32,
        target: &TargetStates,
    ) -> Result<[f64; 2], StudyError> {
        let mut cache = self.decoder.prefix_cache(1, prompt.len(), self.tap)?;
        if at > 0 {
            self.decoder.extend(&mut cache, &TokenBatch::new(&[&prompt[..at]])?, &[], Logits::None)?;
        }
        let states: Vec<f64> = to_host(self.decoder.candidates(&cache, &[prompt[at], other], self.tap)?)?;
        let (truth, taken) = states.split_at(target.d_model());
        Ok([truth, taken].map(|state| distance(state, target.state(at))))
    }
}

/// Returns the smallest margin over the positions of a prompt, among `rivals` candidates at each. The margin is the distance from
/// the given state to the second nearest candidate, minus that to the nearest. The result is an upper bound of the margin over
/// the whole vocabulary. Returns `None` if no position has two tested candidates.
///
/// # Errors
///
/// The errors of [`Inverter::invert`].
pub fn least_margin(
    inverter: &Inverter<'_>,
    clean: &TargetStates,
    searcher: &mut Searcher<'_>,
    rivals: usize,
) -> Result<Option<f64>, StudyError> {
    let inverter = inverter.with_settings(inverter.settings().clone().with_rivals(rivals))?;
    let inversion = inverter.invert(clean, searcher, &mut silent)?;
    let margin = |position: &inject_sipit::Position| {
        let Ranked { distance, .. } = position.runner_up()?;
        Some(distance - position.distance()?)
    };
    Ok(inversion.positions.iter().filter_map(margin).min_by(f64::total_cmp))
}
