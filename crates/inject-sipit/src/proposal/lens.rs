//! Drafts and candidates by a lens.

mod belief;
mod in_context;
mod known;

use std::sync::{Arc, Mutex, PoisonError};

use inject_collisions::models::Alternative;

pub use self::in_context::LensInContext;
use self::{belief::Shortlists, known::Known};
use super::{Open, Place, Proposer, growing};
use crate::{
    Draft, InvertError, Lens, TargetStates, Vocabulary,
    lens::{Evidence, Shortlist},
    token_rows::Wanted,
};

/// Drafts whole prompts by a [`Lens`], and proposes each position's most likely tokens.
///
/// A draft goes on behind tokens that may be wrong: what a pass shows there, of the tokens drafted and of the alternatives beside
/// them, makes the next draft better at many positions at once.
///
/// Clones share one cache, so the same source can appear several times in a policy with different limits.
#[derive(Clone, Debug)]
pub struct LensProposals {
    lens: Arc<Lens>,
    limit: usize,
    known: Arc<Mutex<Known>>,
    /// The long list of one position of a prompt.
    deep: Option<((u64, usize, Evidence), Shortlist)>,
}

/// Tokens kept of each position and kind of evidence.
const SHORT: usize = 16;

/// How far a token that is kept lies behind the first, in nats: what is less likely would never be tried before a source of another kind.
const WITHIN: f32 = 30.0;

/// A draft stops where all of it is right with no more than this probability: what is computed behind many wrong tokens tells
/// little, and is computed again.
const LEAST_LIKELY: f64 = 0.02;

/// A pass over fewer positions than this takes as long: it reads every weight.
const SHORTEST: usize = 8;

/// An alternative is computed beside a draft if it is needed with this probability. At the last block of SmolLM2-135M a row of a pass takes
/// 1.5 ms and the repair that it may spare 110 ms on two cores, so this is about where the two meet.
const WORTH_A_ROW: f64 = 0.02;

/// Alternatives to one draft, at most.
const ALTERNATIVES: usize = 32;

/// The share of an alternative's worth that is lost behind a wrong token.
const LOST_BEHIND: f64 = 0.3;

/// Where the lists hold the token of the first open position with less than this probability, other sources are asked.
const WORTH_A_DRAFT: f64 = 0.5;

impl LensProposals {
    /// Proposes by this lens, up to 1024 candidates at each position.
    pub fn new(lens: Arc<Lens>) -> Self {
        LensProposals { lens, limit: 1024, known: Arc::default(), deep: None }
    }

    /// The same, with another number of candidates at each position.
    pub fn up_to(self, limit: usize) -> Self {
        LensProposals { limit, ..self }
    }

    fn known(
        &self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
    ) -> Result<Arc<Shortlists>, InvertError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.of(target.id()) {
            return Ok(known);
        }
        self.lens.check(vocabulary.decoder(), target)?;
        let (all, evidence) = (0..target.positions(), self.lens.evidence());
        let wanted = Wanted { count: SHORT, within: WITHIN };
        let of_kind = self.lens.shortlists(vocabulary, target, all, wanted, evidence)?;
        Ok(known.remember(Shortlists { target: target.id(), of_kind }))
    }
}

impl Proposer for LensProposals {
    fn name(&self) -> &'static str {
        "lens"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        let beliefs = self.known(open.vocabulary, open.target)?.beliefs(open);
        let listed = |belief: &[(u32, f64)]| belief.iter().map(|(_, probability)| probability).sum::<f64>();
        if !open.tested.is_empty() && beliefs.first().is_some_and(|first| listed(first) < WORTH_A_DRAFT) {
            return Ok(None);
        }
        let (mut ids, mut alternatives) = (Vec::new(), Vec::new());
        let (mut likely, mut worth) = (1.0, 1.0);
        for (place, belief) in beliefs.iter().enumerate() {
            let Some(&(id, probability)) = belief.first() else { break };
            if likely < LEAST_LIKELY && ids.len() >= SHORTEST {
                break;
            }
            likely *= probability;
            ids.push(id);
            let others = belief.iter().skip(1);
            let others = others.map(|&(id, probability)| (worth * probability, Alternative { place, id }));
            alternatives.extend(others.filter(|(worth, _)| *worth >= WORTH_A_ROW));
            worth *= 1.0 - LOST_BEHIND * (1.0 - probability);
        }
        alternatives.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        alternatives.truncate(ALTERNATIVES);
        let alternatives = alternatives.into_iter().map(|(_, alternative)| alternative).collect();
        Ok((!ids.is_empty()).then_some(Draft { ids, alternatives }))
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let position = place.position();
        let (limit, tested) = (self.limit, place.tested);
        let known = self.known(place.vocabulary, place.target)?;
        let trust = known.trust(place.prefix);
        if tested.len() < 2 * SHORT {
            let believed = known.belief(position, &trust).into_iter().map(|(id, _)| id);
            let fresh: Vec<u32> = believed.filter(|&id| !tested.contains(id)).take(SHORT).collect();
            if !fresh.is_empty() {
                return Ok(fresh);
            }
        }
        // Deep in a list only the state tells: the expectation alone is another source's.
        let evidence = match trust[..] {
            [with_prior, state, ..] if state > with_prior => Evidence::State,
            _ => self.lens.evidence()[0],
        };
        let key = (place.target.id(), position, evidence);
        let list = match self.deep.take() {
            Some((known, list)) if known == key => list,
            _ => {
                let (here, wanted) = (position..position + 1, Wanted::first(limit));
                let lists =
                    self.lens.shortlists(place.vocabulary, place.target, here, wanted, &[evidence])?;
                lists.into_iter().flatten().next().unwrap_or_default()
            }
        };
        let (_, list) = self.deep.insert((key, list));
        let untested = list.iter().map(|(id, _)| *id).filter(|&id| !tested.contains(id));
        Ok(untested.take(growing(tested.len())).collect())
    }
}
