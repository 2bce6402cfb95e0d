//! One position of a recovered prompt, as it is reported.

use inject_sipit::{NoiseOrigin, Position, Verdict, collisions::Ranked};
use serde::{Deserialize, Serialize};

/// One position of a prompt.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PositionReport {
    /// The position within the prompt, from 0.
    pub(in crate::invert) position: usize,
    /// The verdict on the position.
    pub(in crate::invert) verdict: VerdictName,
    /// The token; null at an open position. At a failed position it is the nearest of all.
    pub(in crate::invert) token_id: Option<u32>,
    /// The nearest token found at an open position, which verifies nothing; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::invert) guess: Option<u32>,
    /// Tokens that fit an ambiguous position, the nearest first; of equally near ones the most expected.
    pub(in crate::invert) candidates: Vec<Candidate>,
    /// Whether still more tokens fit than those listed.
    pub(in crate::invert) more_candidates: bool,
    /// The distance of the token's state from the given state.
    pub(in crate::invert) distance: Option<f64>,
    /// The largest distance that an accepted candidate can have: the noise floor, or what another rule allows.
    pub(in crate::invert) tolerance: Option<f64>,
    /// The origin of the tolerance: the noise of computing, an estimate of the producer's noise, or a rule that the user chose.
    pub(in crate::invert) noise: Option<NoiseName>,
    /// The nearest other token tested.
    pub(in crate::invert) runner_up: Option<Candidate>,
    /// The runner-up's distance minus the token's: exact if the whole vocabulary was tested, otherwise an upper bound.
    pub(in crate::invert) margin: Option<f64>,
    /// The distance of the runner-up as a multiple of that of the token.
    pub(in crate::invert) ratio: Option<f64>,
    /// The number of candidates tested at this position.
    pub(in crate::invert) candidates_tested: usize,
    /// The source of the token; null at an open position.
    pub(in crate::invert) found_by: Option<String>,
    /// Other tokens that fitted, until a later position excluded them.
    pub(in crate::invert) ruled_out: Vec<RuledOutReport>,
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
    /// Several candidates fit, and no later position decides between them.
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
    /// The id of the candidate.
    pub(in crate::invert) token_id: u32,
    /// The distance of its state from the given state.
    pub(in crate::invert) distance: f64,
}

/// A token that fitted a position and that a later position excluded.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RuledOutReport {
    /// The id of the excluded token.
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

impl PositionReport {
    /// Whether the nearest candidate is so much nearer than the runner-up that its state is the given one, but for noise.
    pub(in crate::invert) fn stands_out(&self) -> bool {
        /// As a share of the distance of the runner-up. Not compared with other values.
        const NEAR: f64 = 0.5;
        let distances = self.distance.zip(self.runner_up);
        distances.is_some_and(|(distance, other)| distance < NEAR * other.distance)
    }

    /// A position at which nothing was tested.
    pub(in crate::invert) fn open(position: usize) -> Self {
        PositionReport {
            position,
            verdict: VerdictName::Open,
            token_id: None,
            guess: None,
            candidates: Vec::new(),
            more_candidates: false,
            distance: None,
            tolerance: None,
            noise: None,
            runner_up: None,
            margin: None,
            ratio: None,
            candidates_tested: 0,
            found_by: None,
            ruled_out: Vec::new(),
        }
    }

    pub(super) fn new(position: &Position) -> Self {
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
        PositionReport {
            position: position.position,
            verdict: VerdictName::from(&position.verdict),
            token_id: position.token_id(),
            guess: match position.verdict {
                Verdict::Open { guess } => guess,
                _ => None,
            },
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

impl From<&Verdict> for VerdictName {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Certain => VerdictName::Certain,
            Verdict::Verified => VerdictName::Verified,
            Verdict::Ambiguous { .. } => VerdictName::Ambiguous,
            Verdict::Failed => VerdictName::Failed,
            Verdict::Given { .. } => VerdictName::Given,
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

impl From<Ranked> for Candidate {
    fn from(ranked: Ranked) -> Self {
        Candidate { token_id: ranked.id, distance: ranked.distance }
    }
}
