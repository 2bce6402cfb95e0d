//! How an inversion is run.

use std::time::Duration;

use inject_collisions::Arithmetic;

use crate::Acceptance;

/// How an inversion is run, whatever proposes the candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When a candidate counts as the token.
    pub acceptance: Acceptance,
    /// How much of the vocabulary is tested.
    pub scan: Scan,
    /// Candidates tested at each position beside one that fits, before it is accepted. With states as they were computed
    /// none are needed; under noise near the margin a wrong token may fit as well, and the rivals show it.
    pub rivals: usize,
    /// How many hypotheses are kept while a position is ambiguous, each with its own cache; 1 keeps the nearest only. Behind one prefix at
    /// most 16 tokens are followed, whatever the beam.
    pub beam: usize,
    /// What happens where no candidate fits.
    pub on_failure: OnFailure,
    /// What may be spent.
    pub budget: Budget,
    /// Bytes that one batch of candidates or drafts may take. Beside them stand the model, what the sources of proposals keep, and for
    /// each hypothesis its prefix cache and the states of at most 2,048 candidates in f64.
    pub memory_budget: usize,
    /// What looks through the whole vocabulary for likely tokens. Candidates themselves are always the device's.
    pub arithmetic: Arithmetic,
}

impl Default for Settings {
    /// Everything needed for exact recovery from states as they were computed, and no more.
    fn default() -> Self {
        Settings {
            acceptance: Acceptance::default(),
            scan: Scan::AsNeeded,
            rivals: 0,
            beam: 8,
            on_failure: OnFailure::Stop,
            budget: Budget::default(),
            memory_budget: 512 << 20,
            arithmetic: Arithmetic::I16OnProcessor,
        }
    }
}

/// How much of the vocabulary is tested at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Until a candidate fits.
    AsNeeded,
    /// All of it, at every position: the exact margin, and a certificate.
    Whole,
}

/// What happens at a position where no candidate of the whole vocabulary fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The positions from there on are left open: whatever was found behind a wrong prefix would prove nothing.
    Stop,
    /// The nearest candidate is taken, and the run goes on behind it.
    GoOn,
}

/// What an inversion may spend. Recovery is guaranteed only without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Candidates at each position, at most.
    pub candidates: Option<usize>,
    /// Time for each prompt, looked at between batches.
    pub time: Option<Duration>,
}
