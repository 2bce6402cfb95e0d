//! Drafts and candidates from a lens.

mod beliefs;
mod extent;
mod in_context;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    error::InvertError,
    lens::{Evidence, Lens, Shortlist, candidates_of_a_pass},
    models::Alternative,
    token_rows::Wanted,
    tuning::{DRAFT_LEAST_LIKELY, DRAFT_LOST_AFTER_WRONG, DRAFT_WORTH, SHORTLIST, SHORTLIST_WITHIN},
};

pub use self::in_context::LensInContext;
use self::{beliefs::Shortlists, extent::Extent};
use super::{
    Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn, at_position::AtPosition, growing,
};

/// Drafts whole prompts with a [`Lens`], and proposes each position's most likely tokens.
///
/// A draft continues after tokens that may be wrong. The distances measured there, of the drafted tokens and of their
/// alternatives, improve the next draft at many positions at once.
#[derive(Clone, Debug)]
pub struct LensProposals {
    lens: Arc<Lens>,
}

impl LensProposals {
    /// Creates a source that proposes with this lens.
    pub fn new(lens: Arc<Lens>) -> Self {
        LensProposals { lens }
    }
}

impl Source for LensProposals {
    type Memory = ();

    fn name(&self) -> &'static str {
        "lens"
    }

    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        self.lens.check(prompt.decoder(), prompt.target())?;
        Ok(Box::new(LensSession { lens: &self.lens, shortlists: None, deep: AtPosition::default() }))
    }
}

struct LensSession<'a> {
    lens: &'a Lens,
    /// The short lists of all positions, computed at the first use.
    shortlists: Option<Shortlists>,
    /// The long lists of one position, by their length and the kind of evidence.
    deep: AtPosition<BTreeMap<(usize, Evidence), Shortlist>>,
}

impl LensSession<'_> {
    fn shortlists(&mut self, prompt: &Prompt<'_>) -> Result<&Shortlists, InvertError> {
        let read = match self.shortlists.take() {
            Some(read) => read,
            None => {
                let (target, evidence) = (prompt.target(), self.lens.evidence());
                let wanted = Wanted { count: SHORTLIST, within: SHORTLIST_WITHIN };
                let all = 0..target.positions();
                let by_evidence = self.lens.shortlists(prompt.vocabulary(), target, all, wanted, evidence)?;
                Shortlists { by_evidence }
            }
        };
        Ok(self.shortlists.insert(read))
    }

    /// Returns the `limit` best tokens of a position by one kind of evidence.
    fn deep(
        &mut self,
        at: &OpenPosition<'_>,
        limit: usize,
        evidence: Evidence,
    ) -> Result<&Shortlist, InvertError> {
        let position = at.position();
        match self.deep.get_or_begin(position, BTreeMap::new).entry((limit, evidence)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(missing) => {
                let (here, wanted) = (position..position + 1, Wanted::first(limit));
                let lists = self.lens.shortlists(at.vocabulary(), at.target(), here, wanted, &[evidence])?;
                Ok(missing.insert(lists.into_iter().flatten().next().unwrap_or_default()))
            }
        }
    }
}

impl Session<()> for LensSession<'_> {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        seen: &Provisional,
        _: &mut (),
    ) -> Result<Option<Draft>, InvertError> {
        let beliefs = self.shortlists(at.prompt)?.beliefs(at, seen);
        let listed = |belief: &[(u32, f64)]| belief.iter().map(|(_, probability)| probability).sum::<f64>();
        if !at.tested.is_empty() && beliefs.first().is_some_and(|first| listed(first) < DRAFT_WORTH) {
            return Ok(None);
        }
        let extent = Extent::of(candidates_of_a_pass(at.decoder(), at.tap()));
        let (mut ids, mut alternatives) = (Vec::new(), Vec::new());
        let (mut likely, mut worth) = (1.0, 1.0);
        for (place, belief) in beliefs.iter().enumerate() {
            let Some(&(id, probability)) = belief.first() else { break };
            if likely < DRAFT_LEAST_LIKELY && ids.len() >= extent.shortest {
                break;
            }
            likely *= probability;
            ids.push(id);
            let others = belief.iter().skip(1);
            let others = others.map(|&(id, probability)| (worth * probability, Alternative { place, id }));
            alternatives.extend(others.filter(|(worth, _)| *worth >= extent.worth_a_row));
            worth *= 1.0 - DRAFT_LOST_AFTER_WRONG * (1.0 - probability);
        }
        alternatives.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        alternatives.truncate(extent.alternatives);
        let alternatives = alternatives.into_iter().map(|(_, alternative)| alternative).collect();
        Ok((!ids.is_empty()).then_some(Draft { ids, alternatives }))
    }

    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        let tested = at.tested;
        let shortlists = self.shortlists(at.prompt)?;
        let trust = shortlists.trust(at.prefix);
        if tested.len() < 2 * SHORTLIST {
            let believed = shortlists.belief(at.position(), &trust).into_iter().map(|(id, _)| id);
            let fresh: Vec<u32> = believed.filter(|&id| !tested.contains(id)).take(SHORTLIST).collect();
            if !fresh.is_empty() {
                return Ok(fresh);
            }
        }
        // Far down a list only the state is informative. Proposing by the expectation alone is the task of another source.
        let evidence = match trust[..] {
            [with_prior, state, ..] if state > with_prior => Evidence::State,
            _ => self.lens.evidence()[0],
        };
        let list = self.deep(at, turn.limit, evidence)?;
        let untested = list.iter().map(|(id, _)| *id).filter(|&id| !tested.contains(id));
        Ok(untested.take(growing(tested.len())).collect())
    }
}
