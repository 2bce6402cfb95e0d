//! Sources of candidates.
//!
//! A [`Source`] is a configuration. For each prompt it begins a [`Session`], which holds everything the source remembers of
//! that prompt and ends with it. Knowledge that is worth keeping from prompt to prompt is the source's
//! [`Memory`](Source::Memory). It belongs to a [`Searcher`](crate::policy::Searcher), and so to one model and one tap.
//!
//! Only the exact forward pass verifies a candidate, and the scan tests what no source proposes. If a single token fits each
//! position, a source changes the cost of a recovery and never its result. If several tokens fit, as under strong noise, a
//! wrong token that is proposed before the right one may be accepted.

mod at_position;
mod combination;
#[cfg(feature = "gradient")]
mod descent;
mod draft;
#[cfg(feature = "gradient")]
mod embedding_rows;
#[cfg(feature = "gradient")]
mod gradient;
#[cfg(feature = "gradient")]
mod hard_prompts;
mod known;
mod lens;
mod next_token;
mod prior;
mod prompt;
mod provisional;
mod random;
mod repeated;
mod scores;
mod secant;
mod tested;
mod trust;

#[cfg(feature = "gradient")]
pub use self::{
    descent::Objective,
    gradient::{Gradient, StepDecay},
    hard_prompts::HardPrompts,
};
pub use self::{
    draft::Draft,
    known::Known,
    lens::{LensInContext, LensProposals},
    prior::Prior,
    prompt::{OpenPosition, Prompt, Turn},
    provisional::Provisional,
    random::RandomOrder,
    repeated::Repeated,
    secant::{PriorTiming, Secant, SecantMemory},
    tested::Tested,
};
pub(crate) use self::{
    scores::{growing, most_likely},
    secant::StateMap,
};
use crate::error::InvertError;
pub use crate::vocabulary::Vocabulary;

/// A source of candidates: an immutable configuration that begins a [`Session`] for each prompt.
///
/// # Example
///
/// ```
/// use inject_sipit::{InvertError, Policy};
/// use inject_sipit::sources::{OpenPosition, Prompt, Session, Source, Turn};
///
/// /// The ids that differ from the last token's in the lowest bits.
/// struct NearIds;
///
/// impl Source for NearIds {
///     type Memory = ();
///
///     fn name(&self) -> &'static str {
///         "near-ids"
///     }
///
///     fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
///         Ok(Box::new(self))
///     }
/// }
///
/// impl Session<()> for &NearIds {
///     fn propose(&mut self, at: &OpenPosition<'_>, turn: &Turn<'_>, _: &mut ()) -> Result<Vec<u32>, InvertError> {
///         let last = at.prefix.last().copied().unwrap_or(0);
///         let ids = (0..at.vocab_size() as u32).map(|step| last ^ step).take(turn.limit);
///         Ok(ids.filter(|&id| !at.tested.contains(id)).take(64).collect())
///     }
/// }
///
/// assert_eq!(Policy::new().then(NearIds).to_string(), "near-ids, scan");
/// ```
pub trait Source: Send + Sync {
    /// The knowledge carried from prompt to prompt: `()` for a source that learns nothing. It starts as its default for each
    /// [`Searcher`](crate::policy::Searcher), and is copied by [`Searcher::copy`](crate::policy::Searcher::copy).
    type Memory: Clone + Default;

    /// The name of the source in reports.
    fn name(&self) -> &'static str;

    /// Begins the search for one prompt.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the source was made for another model or tap.
    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn Session<Self::Memory> + 'a>, InvertError>;
}

/// The search of one source for one prompt.
///
/// Sources are asked in the order of the turns of a [`Policy`](crate::Policy). Sessions of several prompts may take turns with
/// one memory, because prompts can be recovered together.
pub trait Session<Memory> {
    /// Guesses tokens for the positions from `at` on, all at once and without knowing their prefixes. Returns none by default.
    ///
    /// Drafts are asked for before candidates, as long as a single hypothesis stands,
    /// [`Settings::rivals`](crate::Settings::rivals) is 0, and at most a few dozen candidates were tested at the position.
    /// No draft is asked for if the whole vocabulary is scanned under an [`Acceptance`](crate::Acceptance) that is not the
    /// default. The first draft among the sources is used, unless its first token is already tested.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the model or its device fails.
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        seen: &Provisional,
        memory: &mut Memory,
    ) -> Result<Option<Draft>, InvertError> {
        let _ = (at, seen, memory);
        Ok(None)
    }

    /// Returns the next candidates to test at `at`, the likeliest first, or none if the source has no more.
    ///
    /// The method is called again and again at one position, with a growing `at.tested`, until a candidate fits and enough
    /// rivals are tested. If nothing new is left, the next turn of the policy is taken, and at last the scan. Ids outside the
    /// vocabulary, repeated ids and tested ids are dropped. The prefix may change between calls at one position, because several
    /// hypotheses may be followed.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the model or its device fails.
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        memory: &mut Memory,
    ) -> Result<Vec<u32>, InvertError>;
}
