//! Where candidates come from.
//!
//! A source of proposals may be wrong in any way it likes: only the exact forward pass verifies, and what no source proposes
//! is found by scanning the rest of the vocabulary. Where one token alone fits each position, a source decides how fast a prompt is
//! found, never which.

mod combination;
mod descent;
mod gradient;
mod hard_prompts;
mod lens;
mod prior;
mod random;
mod repeated;
mod rows;
mod secant;
mod tested;
mod trust;

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use inject_collisions::{
    Ranked,
    models::{Decoder, PrefixCache, Tap},
};

pub use self::{
    descent::Objective,
    gradient::{Decay, Gradient},
    hard_prompts::HardPrompts,
    lens::{LensInContext, LensProposals},
    prior::Prior,
    random::RandomOrder,
    repeated::Repeated,
    secant::{Asked, Secant},
    tested::Tested,
};
use crate::{Draft, InvertError, TargetStates, Vocabulary, noise::spread};

/// A source of candidates. Implement it to try your own; a wrong source costs time, never correctness.
///
/// Sources are asked in the order in which a [`Policy`](crate::Policy) names them.
///
/// [`Proposer::propose`] is called again and again at one position with a growing `place.tested`, until a candidate fits and the
/// asked-for number of rivals is tested. Ids outside the vocabulary, repeated and already tested ones are dropped. If nothing is left,
/// the next source of the policy is asked, then the scan. The prefix may change between calls (several hypotheses), so key any memory by
/// `place.prefix`.
///
/// [`Proposer::draft`] is asked first, while one hypothesis stands and [`Settings::rivals`](crate::Settings::rivals) is 0; the first
/// source that returns `Some` wins. (No draft is asked for either where the whole vocabulary is scanned by an
/// [`Acceptance`](crate::Acceptance) that is not the default.) A draft whose first token is already tested at the first open position is
/// thrown away. After 64 candidates tested there no draft is asked for.
///
/// # Example
///
/// ```
/// use inject_sipit::{InvertError, Place, Policy, Proposer};
///
/// /// The ids that differ from the last token's in the lowest bits.
/// struct NearIds;
///
/// impl Proposer for NearIds {
///     fn name(&self) -> &'static str {
///         "near-ids"
///     }
///
///     fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
///         let last = place.prefix.last().copied().unwrap_or(0);
///         let ids = (0..place.vocab_size() as u32).map(|step| last ^ step);
///         Ok(ids.filter(|&id| !place.tested.contains(id)).take(64).collect())
///     }
/// }
///
/// assert_eq!(Policy::new().then(NearIds).to_string(), "near-ids, scan");
/// ```
pub trait Proposer: Send {
    /// What the source is called in reports.
    fn name(&self) -> &'static str;

    /// Tokens for the positions from the first open one on, guessed at once without their prefix; none from a source that
    /// cannot do that.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the source does not belong to this model and tap.
    fn draft(&mut self, _open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        Ok(None)
    }

    /// The next candidates to test at one position, most likely first; none when the source has no more. Candidates that
    /// were tested already are passed over by the caller.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the source does not belong to this model and tap.
    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError>;
}

/// The positions of a prompt that are still open.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Its tokens, to look through.
    pub vocabulary: &'a Vocabulary<'a>,
    /// The states to invert.
    pub target: &'a TargetStates,
    /// The token ids before the first open position.
    pub prefix: &'a [u32],
    /// What passes over drafts showed of the open positions.
    pub provisional: &'a Provisional,
    /// What was tested at the first open position.
    pub tested: &'a Tested,
    /// When the time of the prompt is up, if it has a bound: a source that takes long over a draft ends it then.
    pub deadline: Option<Instant>,
}

/// What passes over drafts showed of positions that are still open: distances of tokens computed there behind others that may be
/// wrong. They verify nothing; but a right token is mostly nearer than the wrong ones, even behind a few wrong ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provisional {
    positions: BTreeMap<usize, Vec<Ranked>>,
}

impl Provisional {
    /// The tokens computed at a position, nearest first, with distances as in [`Position::distance`](crate::Position::distance).
    pub fn at(&self, position: usize) -> &[Ranked] {
        self.positions.get(&position).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing was computed.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The positions at which tokens were computed, and those, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[Ranked])> {
        self.positions.iter().map(|(position, here)| (*position, here.as_slice()))
    }

    /// Takes up a distance; an earlier one of the same token, behind a worse prefix, is forgotten.
    pub(crate) fn take_up(&mut self, position: usize, measured: Ranked) {
        let here = self.positions.entry(position).or_default();
        here.retain(|known| known.id != measured.id);
        let place = here.partition_point(|known| known.distance <= measured.distance);
        here.insert(place, measured);
    }

    /// Forgets the positions before this one: they are settled.
    pub(crate) fn forget_before(&mut self, position: usize) {
        self.positions = self.positions.split_off(&position);
    }
}

/// One open position behind a known prefix.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Its tokens, to look through.
    pub vocabulary: &'a Vocabulary<'a>,
    /// The states to invert.
    pub target: &'a TargetStates,
    /// The token ids before the position.
    pub prefix: &'a [u32],
    /// Keys and values of the prefix, as deep as the tap.
    pub cache: &'a PrefixCache,
    /// What was tested here, behind this very prefix.
    pub tested: &'a Tested,
}

impl Place<'_> {
    /// The position, from 0.
    pub fn position(&self) -> usize {
        self.prefix.len()
    }

    /// Where the states were read.
    pub fn tap(&self) -> Tap {
        self.target.tap()
    }

    /// How many tokens there are.
    pub fn vocab_size(&self) -> usize {
        self.decoder.config().vocab_size
    }

    /// The untested tokens of the `count` largest scores, largest first; `scores` has one for each token.
    fn likeliest_untested(&self, scores: &[f64], count: usize) -> Vec<u32> {
        let likely = most_likely(scores, count + self.tested.len());
        likely.into_iter().filter(|&id| !self.tested.contains(id)).take(count).collect()
    }

    /// So many untested tokens from all over the vocabulary, more of the low ids: tokenizers number their tokens in the order in which
    /// they were merged or by probability, so these are the common ones.
    fn all_over(&self, count: usize) -> Vec<u32> {
        let vocab_size = self.vocab_size();
        let common_first = |id: u32| (u64::from(id) * u64::from(id) / vocab_size as u64) as u32;
        let mut once = HashSet::new();
        let all = spread(vocab_size as u32).take(vocab_size).map(common_first);
        all.filter(|id| !self.tested.contains(*id) && once.insert(*id)).take(count).collect()
    }
}

/// The size of the next batch where `tested` candidates were tested already: small while the next few are likely enough,
/// then large enough to keep the device busy.
pub(crate) fn growing(tested: usize) -> usize {
    (4 * tested).clamp(16, 256)
}

/// The places of the `count` largest scores, largest first; of equal ones the lower first.
pub(crate) fn most_likely(scores: &[f64], count: usize) -> Vec<u32> {
    let count = count.min(scores.len());
    let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let mut kept: Vec<u32> = Vec::with_capacity(2 * count + 1);
    let mut least = None;
    for (place, score) in scores.iter().enumerate() {
        if least.is_none_or(|least| *score > least) {
            kept.push(place as u32);
            if kept.len() > 2 * count {
                // Others follow only if they are larger than these.
                kept.select_nth_unstable_by(count, by_score);
                kept.truncate(count);
                let last = kept.iter().copied().max_by(by_score);
                least = Some(last.map_or(f64::INFINITY, |last| scores[last as usize]));
            }
        }
    }
    kept.sort_unstable_by(by_score);
    kept.truncate(count);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_most_likely_are_those_of_a_whole_sort(
            scores in prop::collection::vec(-20_i32..20, 0..400), count in 0_usize..50,
        ) {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let mut all: Vec<u32> = (0..scores.len() as u32).collect();
            // A stable sort keeps the lower of equal ones first.
            all.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            all.truncate(count);
            prop_assert_eq!(most_likely(&scores, count), all);
        }
    }
}
