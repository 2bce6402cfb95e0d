//! Whole prompts from states that are not those computed.

mod condition;
mod disturbed;

use crate::{Run, StudyError, fingerprint};
use inject_sipit::{
    Budget, Inversion, InvertError, Inverter, OnFailure, Policy, Scan, Settings, TargetStates,
    collisions::{Ranked, distance},
    models::{Decoder, Logits, Tap, TokenBatch, WeightFormat, to_host},
};

pub use self::condition::Condition;
use self::disturbed::Disturbed;

/// What is tried.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RecoveryOptions {
    /// Where the states are read.
    pub taps: Vec<Tap>,
    /// What stands between the states and the inverter.
    pub conditions: Vec<Condition>,
    /// Candidates tested at each position before the nearest that fits is taken.
    pub rivals: usize,
    /// Candidates tested at each position, at most; the whole vocabulary where it is no more.
    pub most_candidates: usize,
    /// What disturbances depend on.
    pub seed: u64,
}

/// Whole prompts, condition by condition.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RecoveryStudy {
    /// Each condition at each tap.
    pub recovered: Vec<Recovered>,
}

/// One condition at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Recovered {
    /// The condition.
    pub condition: Condition,
    /// The tap.
    pub tap: Tap,
    /// Prompts tried.
    pub prompts: usize,
    /// Prompts that came back token for token.
    pub exact: usize,
    /// Tokens of all prompts.
    pub tokens: usize,
    /// Tokens that came back, behind whatever was found before them.
    pub right: usize,
    /// Prompts whose first wrong token lies nearer to the state given than the true one: no decoder that takes the nearest can do
    /// better there. Certified by the two distances.
    pub gone: usize,
    /// Prompts whose first wrong token lies farther than the true one: the search ended too early, or later positions misled it.
    pub not_found: usize,
    /// Prompts with a position that no candidate fitted.
    pub failed: usize,
    /// The mean number of candidates tested at each position.
    pub candidates_per_token: f64,
    /// The largest distance by which any state was moved.
    pub largest_error: f64,
    /// The smallest ratio of a runner-up's distance to the noise floor, over all positions where one was tested.
    pub least_margin_over_floor: Option<f64>,
}

/// Inverts prompts under each condition at each tap. A unit of the study is a condition at a tap.
///
/// The inverter is told how far each state was moved, as an upper bound of the noise: a number format says it by itself, and for the rest it
/// is the error itself, which in earnest has to be guessed. It takes the nearest of the candidates that fit, or where
/// later positions rule that out, another, and goes on behind the nearest where none fits. `policy` gives the sources of
/// candidates for a model at a tap; `model` names the weights.
///
/// # Errors
///
/// [`StudyError`]: no prompts, what the model or a policy refuses, a journal of another study.
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
    let about = serde_json::json!({
        "study": "recovery", "model": model, "prompts": fingerprint(prompts), "options": options,
    });
    let units: Vec<(Condition, Tap)> = options
        .conditions
        .iter()
        .flat_map(|&condition| options.taps.iter().map(move |&tap| (condition, tap)))
        .collect();
    // Units of one format follow each other, and two decoders at a time are enough.
    let mut quantised: Option<(WeightFormat, Decoder)> = None;
    let recovered = run.complete(&about, units, |&(condition, tap), done| {
        if let Some(format) = condition.producing_weights()
            && quantised.as_ref().is_none_or(|(held, _)| *held != format)
        {
            quantised = Some((format, decoder.clone().with_weights_in(format)?));
        }
        let other = quantised.as_ref().map(|(_, other)| other);
        let producer = condition.producing_weights().and(other).unwrap_or(decoder);
        let inverting = condition.known_weights().and(other).unwrap_or(decoder);
        let trial = Trial { condition, tap, producer, decoder: inverting, options };
        let mut policy = policy(inverting, tap)?;
        trial.carry_out(prompts, &mut policy, done)
    })?;
    Ok(RecoveryStudy { recovered: recovered.into_iter().map(|(_, recovered)| recovered).collect() })
}

/// One condition at one tap.
struct Trial<'a> {
    condition: Condition,
    tap: Tap,
    producer: &'a Decoder,
    decoder: &'a Decoder,
    options: &'a RecoveryOptions,
}

impl Trial<'_> {
    fn carry_out(
        &self,
        prompts: &[Vec<u32>],
        policy: &mut Policy,
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
        let mut candidates = 0;
        for (number, prompt) in prompts.iter().enumerate() {
            let disturbed = Disturbed::new(self, number, prompt, policy)?;
            let inverter = Inverter::new(self.decoder, self.tap, self.settings())?;
            let inversion = inverter.invert(&disturbed.target, policy, &mut |_| ())?;
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
        Settings {
            scan: if whole { Scan::Whole } else { Scan::AsNeeded },
            rivals: self.options.rivals,
            on_failure: OnFailure::GoOn,
            budget: Budget { candidates: (!whole).then_some(most), time: None },
            ..Settings::default()
        }
    }

    fn count(
        &self,
        recovered: &mut Recovered,
        prompt: &[u32],
        disturbed: &Disturbed,
        inversion: &Inversion,
    ) -> Result<(), StudyError> {
        let found = inversion.token_ids();
        recovered.tokens += prompt.len();
        recovered.right += found.iter().zip(prompt).filter(|(found, id)| found == id).count();
        recovered.failed += usize::from(inversion.first_failure().is_some());
        recovered.largest_error = recovered.largest_error.max(disturbed.largest_error);
        let ratios = inversion
            .positions
            .iter()
            .filter_map(|p| Some(p.runner_up?.distance / p.noise_floor))
            .filter(|r| r.is_finite());
        recovered.least_margin_over_floor =
            ratios.chain(recovered.least_margin_over_floor).min_by(f64::total_cmp);
        match found.iter().zip(prompt).position(|(found, id)| found != id) {
            None => recovered.exact += 1,
            Some(at) => {
                let [truth, taken] = self.distances(prompt, at, found[at], &disturbed.target)?;
                match taken < truth {
                    true => recovered.gone += 1,
                    false => recovered.not_found += 1,
                }
            }
        }
        Ok(())
    }

    /// How far the states of the true and of another token lie from the one given, behind the true prefix.
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

/// The least margin over the positions of a prompt, among `rivals` candidates at each: from the state given to the second
/// nearest, less that to the nearest. An upper bound of the margin over the whole vocabulary; none where nothing was tested.
///
/// # Errors
///
/// As [`Inverter::invert`].
pub fn least_margin(
    inverter: &Inverter<'_>,
    clean: &TargetStates,
    policy: &mut Policy,
    rivals: usize,
) -> Result<Option<f64>, StudyError> {
    let settings = Settings { rivals, ..inverter.settings().clone() };
    let inverter = Inverter::new(inverter.decoder(), inverter.tap(), settings)?;
    let inversion = inverter.invert(clean, policy, &mut |_| ())?;
    let margin = |position: &inject_sipit::Position| {
        let Ranked { distance, .. } = position.runner_up?;
        Some(distance - position.distance)
    };
    Ok(inversion.positions.iter().filter_map(margin).min_by(f64::total_cmp))
}
