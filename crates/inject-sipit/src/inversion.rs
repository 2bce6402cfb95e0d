//! What an inversion found, position by position.

use inject_collisions::{Bos, ModelError, Ranked, Tokenizer};

/// Whether a position is settled.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// One candidate of the whole vocabulary lies within the noise floor, and no other.
    Verified,
    /// Several candidates lie within the noise floor: the states do not tell them apart. The nearest is kept.
    Ambiguous {
        /// All of them that were kept, nearest first.
        candidates: Vec<Ranked>,
    },
    /// No candidate lies within the noise floor: these are not states of this model at this tap, or an earlier position
    /// failed. The nearest is kept.
    Failed,
}

/// One recovered position.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Position {
    /// Position within the prompt, from 0.
    pub position: usize,
    /// Whether it is settled.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The token whose state lies nearest.
    pub token_id: u32,
    /// L2 distance of that state from the one given, in f64.
    pub distance: f64,
    /// The second nearest token and its distance; none in a vocabulary of one.
    pub runner_up: Option<Ranked>,
    /// How much farther the runner-up lies.
    pub margin: Option<f64>,
    /// The distance within which a candidate counts as the state.
    pub noise_floor: f64,
    /// How many candidates were computed for this position.
    pub candidates_tested: usize,
}

/// A whole prompt, recovered as far as the states allow. It always has as many positions as there were states.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Inversion {
    /// Every position, in order.
    pub positions: Vec<Position>,
}

impl Inversion {
    /// The recovered tokens.
    pub fn token_ids(&self) -> Vec<u32> {
        self.positions.iter().map(|position| position.token_id).collect()
    }

    /// Whether every position is verified.
    pub fn is_verified(&self) -> bool {
        self.positions.iter().all(|position| position.verdict == Verdict::Verified)
    }

    /// The first position at which no candidate fitted. What follows it rests on a wrong prefix.
    pub fn first_failure(&self) -> Option<&Position> {
        self.positions.iter().find(|position| position.verdict == Verdict::Failed)
    }

    /// Candidates computed in all.
    pub fn candidates_tested(&self) -> usize {
        self.positions.iter().map(|position| position.candidates_tested).sum()
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
