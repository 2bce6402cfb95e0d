//! The result of an inversion, position by position.

use crate::{
    acceptance::NoiseOrigin,
    collisions::Ranked,
    models::{Bos, ModelError, NumberFormat, Tokenizer},
    transformation::Transformation,
};

pub use crate::cost::{Cost, StageCost};

/// The judgement on one position.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The whole vocabulary was tested, one candidate lies within the noise floor, and the margin exceeds twice the floor. By
    /// Theorem 3.2 no noise within the floor can have hidden another token.
    ///
    /// This is conditional on the earlier tokens, since candidates are computed after them. If every earlier position is certain
    /// too, no other prompt so far fits. After one that is merely verified, ambiguous or failed, this token is certain if that one
    /// is right.
    Certain,
    /// A candidate lies within the noise floor and no other is known to. The rest of the vocabulary was not tested, or the
    /// margin does not exceed twice the floor.
    ///
    /// This too is conditional on the earlier tokens. After an ambiguous position they may be wrong, and then a wrong token can be verified.
    Verified,
    /// Several candidates lie within the noise floor, and no later position distinguishes them. The best is kept.
    Ambiguous {
        /// The known ones, nearest first: at most 16, and the kept one if it is not among them. Of those whose distances differ by less than
        /// the noise of computing from the least, the one that the model expects most comes first.
        candidates: Vec<Ranked>,
        /// Whether more are known than these.
        more: bool,
    },
    /// No candidate of the whole vocabulary lies within the noise floor: these are not states of this model at this tap, or
    /// an earlier position is wrong. The nearest candidate is kept.
    Failed,
    /// The caller gave the token, and nothing was tested.
    Given {
        /// The id that the caller gave.
        token_id: u32,
    },
    /// Not settled: the budget was spent, or an earlier position failed.
    Open {
        /// The nearest token of a draft or of a few candidates, if there is one. It verifies nothing.
        guess: Option<u32>,
    },
}

impl Verdict {
    /// Returns whether the token is verified or certain.
    pub fn is_verified(&self) -> bool {
        matches!(self, Verdict::Verified | Verdict::Certain)
    }

    /// Returns whether the caller gave the token.
    pub fn is_given(&self) -> bool {
        matches!(self, Verdict::Given { .. })
    }

    /// Returns whether the position is open.
    pub fn is_open(&self) -> bool {
        matches!(self, Verdict::Open { .. })
    }
}

/// A token that fitted a position and that a later position excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RuledOut {
    /// The id of the excluded token.
    pub token_id: u32,
    /// The distance of its state at its own position.
    pub distance: f64,
    /// The later position at which nothing fitted after this token, and something fitted after the kept one.
    pub at_position: usize,
    /// The distance of the nearest candidate tested there after this token.
    pub nearest: f64,
    /// The number of candidates tested there after this token.
    pub candidates_tested: usize,
}

/// The candidate kept at a position, and its measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Kept {
    /// The id of the kept token.
    pub token_id: u32,
    /// The distance of its state from the given state, in f64: in L2, weighted if coordinates are known with unequal
    /// accuracy.
    pub distance: f64,
    /// The nearest other token tested, and its distance.
    pub runner_up: Option<Ranked>,
    /// The distance of the runner-up minus that of the token: exact if the whole vocabulary was tested, otherwise an upper bound.
    pub margin: Option<f64>,
    /// The distance within which a candidate counts as the state.
    pub noise_floor: f64,
    /// The origin of that distance.
    pub noise: NoiseOrigin,
    /// The origin of the candidate: the name of a source, or of a stage of the [`Cost`] that tests candidates.
    pub found_by: &'static str,
}

/// One position of an inverted prompt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// The position within the prompt, from 0.
    pub position: usize,
    /// The verdict: whether a token was found here, and on which evidence.
    pub verdict: Verdict,
    /// The best candidate: the recovered token if the verdict says so, or the nearest one tested. None if nothing was tested.
    pub kept: Option<Kept>,
    /// The number of candidates tested at this position.
    pub candidates_tested: usize,
    /// Other tokens that fitted, until a later position excluded them.
    pub ruled_out: Vec<RuledOut>,
}

impl Position {
    pub(crate) fn given(position: usize, token_id: u32) -> Self {
        let (verdict, ruled_out) = (Verdict::Given { token_id }, Vec::new());
        Position { position, verdict, kept: None, candidates_tested: 0, ruled_out }
    }

    /// The kept candidate, unless the position is open: the nearest candidate tested there is not its token.
    fn settled(&self) -> Option<&Kept> {
        self.kept.as_ref().filter(|_| !self.verdict.is_open())
    }

    /// Returns the token that was kept or given. None at an open position.
    pub fn token_id(&self) -> Option<u32> {
        match self.verdict {
            Verdict::Given { token_id } => Some(token_id),
            _ => Some(self.settled()?.token_id),
        }
    }

    /// Returns the distance of the kept token. None where the position is open or its token was given.
    pub fn distance(&self) -> Option<f64> {
        Some(self.settled()?.distance)
    }

    /// Returns the nearest token beside the kept one. None where the position is open or its token was given.
    pub fn runner_up(&self) -> Option<Ranked> {
        self.settled()?.runner_up
    }

    /// Returns the margin of the kept token. None where the position is open or its token was given.
    pub fn margin(&self) -> Option<f64> {
        self.settled()?.margin
    }

    /// Returns the noise floor at the position. None where the position is open or its token was given.
    pub fn noise_floor(&self) -> Option<f64> {
        Some(self.settled()?.noise_floor)
    }

    /// Returns the origin of the noise floor. None where the position is open or its token was given.
    pub fn noise(&self) -> Option<NoiseOrigin> {
        Some(self.settled()?.noise)
    }

    /// Returns the distance of the runner-up as a multiple of that of the kept token. None where the position is open or its token was given.
    pub fn ratio(&self) -> Option<f64> {
        let kept = self.settled()?;
        Some(kept.runner_up?.distance / kept.distance).filter(|ratio| ratio.is_finite())
    }

    /// Returns the origin of the kept token. None where the position is open or its token was given.
    pub fn found_by(&self) -> Option<&'static str> {
        Some(self.settled()?.found_by)
    }
}

/// The arithmetic of the program that computed the states, as found by the inversion or given by the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Producer {
    /// In this format, or with weights as far from the given ones as rounding to this format moves them: the noise is estimated.
    Noise(NumberFormat),
    /// With weights rounded to this format in the usual way. Candidates are computed with such weights.
    RoundedWeights(NumberFormat),
}

/// A whole prompt, recovered as far as the states allow. It has as many positions as there were states.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Inversion {
    /// A result for each position of the prompt, from the first on.
    pub positions: Vec<Position>,
    /// The change that the producer made to all states, as it was known or found.
    pub transformation: Transformation,
    /// The arithmetic of the producer. `None` if it made no difference.
    pub producer: Option<Producer>,
    /// The work and time that the inversion took.
    pub cost: Cost,
}

impl Inversion {
    /// Returns the recovered tokens: those of all positions, or of the positions before the first that failed or is open.
    pub fn token_ids(&self) -> Vec<u32> {
        let settled =
            |position: &&Position| !matches!(position.verdict, Verdict::Failed | Verdict::Open { .. });
        self.positions.iter().take_while(settled).filter_map(Position::token_id).collect()
    }

    /// Returns the kept token of every position, also of failed ones. None at open positions.
    pub fn kept_ids(&self) -> Vec<Option<u32>> {
        self.positions.iter().map(Position::token_id).collect()
    }

    /// Returns whether every position is verified or certain, apart from those that were given.
    pub fn is_verified(&self) -> bool {
        let settled = |verdict: &Verdict| verdict.is_verified() || verdict.is_given();
        self.positions.iter().all(|position| settled(&position.verdict))
    }

    /// Returns whether every position is certain. Then no other prompt of this length has states within the floors.
    /// Positions that were given are taken as right.
    pub fn is_certain(&self) -> bool {
        self.positions
            .iter()
            .all(|position| matches!(position.verdict, Verdict::Certain | Verdict::Given { .. }))
    }

    /// Returns the first position that no candidate fitted. The positions after it are open, or rest on a wrong prefix.
    pub fn first_failure(&self) -> Option<&Position> {
        self.positions.iter().find(|position| position.verdict == Verdict::Failed)
    }

    /// Returns the number of candidates tested in all stages of the inversion.
    pub fn candidates_tested(&self) -> usize {
        self.cost.candidates()
    }

    /// Returns the text of the recovered tokens, and whether encoding it gives these tokens again. Several sequences of tokens
    /// may spell the same text, and the tokenizer produces only one of them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenizer`] if the tokens cannot be decoded.
    pub fn text(&self, tokenizer: &Tokenizer) -> Result<RecoveredText, ModelError> {
        let ids = self.token_ids();
        let text = tokenizer.decode(&ids)?;
        let policies = [Bos::Auto, Bos::No, Bos::Yes];
        let encodes_back =
            policies.iter().any(|&bos| tokenizer.encode(&text, bos).is_ok_and(|back| back == ids));
        Ok(RecoveredText { text, encodes_back })
    }
}

/// The recovered tokens as text, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredText {
    /// The text, without special tokens.
    pub text: String,
    /// Whether encoding it, with or without BOS, gives the same tokens.
    pub encodes_back: bool,
}
