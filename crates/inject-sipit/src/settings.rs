//! The settings of an inversion.

use std::time::Duration;

use crate::{acceptance::Acceptance, collisions::Arithmetic, error::InvertError, models::NumberFormat};

/// The settings of an inversion, whatever proposes the candidates.
///
/// # Example
///
/// ```
/// use inject_sipit::{Acceptance, Settings, settings::Scan};
///
/// let certified = Settings::new().with_scan(Scan::Whole);
/// let noisy = Settings::new().with_acceptance(Acceptance::NoiseFloor { added: 0.1 }).with_rivals(64);
/// assert_eq!((certified.rivals, noisy.scan), (0, Scan::AsNeeded));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The rule by which a candidate counts as the token.
    pub acceptance: Acceptance,
    /// The format that the producer of the states computed in.
    pub computed_in: ComputedIn,
    /// Whether the tap is doubted where nothing fits.
    pub tap_check: TapCheck,
    /// The part of the vocabulary that is tested.
    pub scan: Scan,
    /// The number of other candidates tested at a position before one that fits is accepted. States without noise need none.
    /// Under noise near the margin a wrong token may fit as well, and rivals reveal it.
    pub rivals: usize,
    /// The number of hypotheses followed while a position is ambiguous, each with its own cache: at least 1, which keeps the
    /// nearest only. At most 16 tokens are followed after one prefix, whatever the beam.
    pub beam: usize,
    /// The action at a position that no candidate fits.
    pub on_failure: OnFailure,
    /// The bounds on the candidates and the time of an inversion.
    pub budget: Budget,
    /// Bytes that one batch of candidates or drafts may take: at least those of one position. The model, the memory of the
    /// sources, and for each hypothesis its prefix cache and the states of at most 2,048 candidates in f64 come on top.
    pub memory_budget: usize,
    /// The arithmetic with which the whole vocabulary is scored for likely tokens. The device computes the candidates in any case.
    pub arithmetic: Arithmetic,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            acceptance: Acceptance::default(),
            computed_in: ComputedIn::default(),
            tap_check: TapCheck::default(),
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

impl Settings {
    /// Creates settings for the exact recovery of states without noise.
    pub fn new() -> Self {
        Settings::default()
    }

    /// Sets [`Settings::acceptance`].
    pub fn with_acceptance(self, acceptance: Acceptance) -> Self {
        Settings { acceptance, ..self }
    }

    /// Sets [`Settings::computed_in`].
    pub fn with_computed_in(self, computed_in: ComputedIn) -> Self {
        Settings { computed_in, ..self }
    }

    /// Sets [`Settings::tap_check`].
    pub fn with_tap_check(self, tap_check: TapCheck) -> Self {
        Settings { tap_check, ..self }
    }

    /// Sets [`Settings::scan`].
    pub fn with_scan(self, scan: Scan) -> Self {
        Settings { scan, ..self }
    }

    /// Sets [`Settings::rivals`].
    pub fn with_rivals(self, rivals: usize) -> Self {
        Settings { rivals, ..self }
    }

    /// Sets [`Settings::beam`].
    pub fn with_beam(self, beam: usize) -> Self {
        Settings { beam, ..self }
    }

    /// Sets [`Settings::on_failure`].
    pub fn with_on_failure(self, on_failure: OnFailure) -> Self {
        Settings { on_failure, ..self }
    }

    /// Sets [`Settings::budget`].
    pub fn with_budget(self, budget: Budget) -> Self {
        Settings { budget, ..self }
    }

    /// Sets [`Settings::memory_budget`].
    pub fn with_memory_budget(self, memory_budget: usize) -> Self {
        Settings { memory_budget, ..self }
    }

    /// Sets [`Settings::arithmetic`].
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Settings { arithmetic, ..self }
    }

    /// Checks the settings against the size of a vocabulary.
    pub(crate) fn check(&self, vocab_size: usize) -> Result<(), InvertError> {
        self.acceptance.check()?;
        if self.beam == 0 {
            return Err(InvertError::NoBeam);
        }
        match (self.scan, self.budget.candidates) {
            (_, Some(0)) => Err(InvertError::NoCandidates),
            (Scan::Whole, Some(found)) if found < vocab_size => {
                Err(InvertError::NoWholeScan { found, vocab_size })
            }
            _ => Ok(()),
        }
    }
}

/// The format that the producer of the states computed in: it decides how far they lie from states computed in f32.
///
/// It matters under the default [`Acceptance`] only. Under any other, the user has set the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComputedIn {
    /// In f32, until no candidate fits. Then in 16 bits, if the states lie on the grid of such a format. If 4,096 candidates fail at the
    /// first or second position, with weights rounded in a known way. If the whole vocabulary fails there, in bf16 whatever the states
    /// are stored in, and with other weights of 8 or 4 bits.
    #[default]
    Auto,
    /// In this format: 16 bits for everything, or weights of 8 or 4 bits, which are rounded as the usual programs round them if that
    /// explains the first prompt. F32 and F64 mean that nothing is estimated.
    Format(NumberFormat),
}

/// Whether the tap of the states is doubted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TapCheck {
    /// The tap is taken as the caller says.
    #[default]
    Never,
    /// If thousands of candidates were tested at the first position and none fits, the likelier taps are tried. If a token fits at one
    /// of them, the inversion ends with [`InvertError::OtherTap`].
    WhereNothingFits {
        /// A token that prompts often begin with, such as BOS.
        begins: Option<u32>,
    },
}

/// The part of the vocabulary that is tested at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scan {
    /// As much as it takes until a candidate fits.
    AsNeeded,
    /// All of it, at every position: exact margins, and a certificate.
    Whole,
}

/// The action at a position that no candidate of the whole vocabulary fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Leaves the positions from there on open, because tokens found after a wrong prefix prove nothing.
    Stop,
    /// Keeps the nearest candidate and continues after it.
    GoOn,
}

/// Bounds on the cost of an inversion. Recovery is guaranteed only without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Candidates at each position, at most; at least 1.
    pub candidates: Option<usize>,
    /// Time for each prompt, checked between batches.
    pub time: Option<Duration>,
}

impl Budget {
    /// Creates a budget without bounds.
    pub fn unlimited() -> Self {
        Budget::default()
    }

    /// Sets [`Budget::candidates`].
    pub fn with_candidates(self, candidates: impl Into<Option<usize>>) -> Self {
        Budget { candidates: candidates.into(), ..self }
    }

    /// Sets [`Budget::time`].
    pub fn with_time(self, time: impl Into<Option<Duration>>) -> Self {
        Budget { time: time.into(), ..self }
    }
}
