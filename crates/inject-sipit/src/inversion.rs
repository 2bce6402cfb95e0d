//! What an inversion found, position by position.

use inject_collisions::{
    Ranked,
    models::{Bos, ModelError, Tokenizer},
};

use crate::Cost;

/// Whether a position is settled.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The whole vocabulary was tested, one candidate lies within the noise floor, and the margin exceeds twice the floor: by
    /// Theorem 3.2 no noise within the floor can have hidden another token.
    ///
    /// This is conditional on the earlier tokens, since candidates are computed after them. If every earlier position is certain too, no
    /// other prompt so far fits; behind one that is merely verified, ambiguous or failed, this token is certain if that one is right.
    Certain,
    /// A candidate lies within the noise floor and no other is known to. The rest of the vocabulary was not tested, or the
    /// margin does not exceed twice the floor.
    Verified,
    /// Several candidates lie within the noise floor, and no later position tells them apart. The best is kept.
    Ambiguous {
        /// Those known, nearest first; 16 at most, and the one kept if it is not among them.
        candidates: Vec<Ranked>,
        /// Whether more are known than these.
        more: bool,
    },
    /// No candidate of the whole vocabulary lies within the noise floor: these are not states of this model at this tap, or
    /// an earlier position is wrong. The nearest is kept.
    Failed,
    /// Not settled: the budget was spent, or an earlier position failed. The token is the best guess so far.
    Open,
}

/// A token that fitted a position and that a later position excluded.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RuledOut {
    /// The token.
    pub token_id: u32,
    /// Its distance at its own position.
    pub distance: f64,
    /// The later position at which nothing fitted behind it while something fitted behind the token kept.
    pub at_position: usize,
    /// The distance of the nearest candidate tested there behind it.
    pub nearest: f64,
    /// How many candidates were tested there behind it.
    pub candidates_tested: usize,
}

/// One recovered position.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Position {
    /// Position within the prompt, from 0.
    pub position: usize,
    /// Whether it is settled.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The token.
    pub token_id: u32,
    /// Distance of its state from the one given, in f64, in L2 or, where coordinates are known unequally well, weighted by
    /// that; infinite where nothing was tested.
    pub distance: f64,
    /// The nearest other token tested, and its distance.
    pub runner_up: Option<Ranked>,
    /// How much farther the runner-up lies. Exact where the whole vocabulary was tested, else a bound from above.
    pub margin: Option<f64>,
    /// The distance within which a candidate counts as the state.
    pub noise_floor: f64,
    /// How many candidates were tested at this position.
    pub candidates_tested: usize,
    /// What proposed the token: `draft`, the name of a source, `scan`, or `none` where nothing was tested.
    pub found_by: &'static str,
    /// Tokens that fitted too, until a later position excluded them.
    pub ruled_out: Vec<RuledOut>,
}

/// A whole prompt, recovered as far as the states allow. It always has as many positions as there were states.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Inversion {
    /// Every position, in order.
    pub positions: Vec<Position>,
    /// What it cost.
    pub cost: Cost,
}

impl Inversion {
    /// The recovered tokens.
    pub fn token_ids(&self) -> Vec<u32> {
        self.positions.iter().map(|position| position.token_id).collect()
    }

    /// Whether every position is verified or certain.
    pub fn is_verified(&self) -> bool {
        self.positions.iter().all(|position| matches!(position.verdict, Verdict::Certain | Verdict::Verified))
    }

    /// Whether every position is certain, and so the prompt: no other of this length has states within the floors.
    pub fn is_certain(&self) -> bool {
        self.positions.iter().all(|position| position.verdict == Verdict::Certain)
    }

    /// The first position at which no candidate fitted. What follows it is open, or rests on a wrong prefix.
    pub fn first_failure(&self) -> Option<&Position> {
        self.positions.iter().find(|position| position.verdict == Verdict::Failed)
    }

    /// Candidates tested in all.
    pub fn candidates_tested(&self) -> usize {
        self.cost.candidates()
    }

    /// The recovered text, and whether encoding it gives the recovered tokens again. Text can fail to: several sequences of
    /// tokens may spell the same text, of which the tokenizer produces one.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenizer`] when the tokens cannot be decoded.
    pub fn text(&self, tokenizer: &Tokenizer) -> Result<RecoveredText, ModelError> {
        let ids = self.token_ids();
        let text = tokenizer.decode(&ids)?;
        let policies = [Bos::Auto, Bos::No, Bos::Yes];
        let encodes_back =
            policies.iter().any(|&bos| tokenizer.encode(&text, bos).is_ok_and(|back| back == ids));
        Ok(RecoveredText { text, encodes_back })
    }
}

/// Recovered tokens as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredText {
    /// The text, without special tokens.
    pub text: String,
    /// Whether encoding it, with or without BOS, gives the same tokens.
    pub encodes_back: bool,
}
