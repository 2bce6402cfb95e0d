//! Drafts and candidates by a lens.

use std::sync::Arc;

use inject_collisions::{Alternative, Decoder};

use super::{Open, Place, Proposer, growing};
use crate::{
    InvertError, Lens, TargetStates,
    lens::{Evidence, Shortlist},
};

/// Drafts whole prompts by a [`Lens`], and proposes each position's most likely tokens.
#[derive(Clone, Debug)]
pub struct LensProposals {
    lens: Arc<Lens>,
    limit: usize,
    known: Option<Known>,
    /// The long list of one position of a prompt.
    deep: Option<((u64, usize, Evidence), Shortlist)>,
}

/// The shortlists of all positions of the prompt at hand.
#[derive(Clone, Debug)]
struct Known {
    target: u64,
    lists: Vec<Shortlist>,
    /// Those by the state alone, where the lens weighs the prior too.
    alone: Option<Vec<Shortlist>>,
}

/// Tokens kept of each position of a draft.
const SHORT: usize = 8;

/// A draft stops where all of it is right with no more than this probability: what is computed behind a wrong token is computed again.
const LEAST_LIKELY: f64 = 0.3;

/// A pass over fewer positions than this takes as long: it reads every weight.
const SHORTEST: usize = 8;

/// An alternative is computed beside a draft if it is needed with this probability. At the last block of SmolLM2-135M a row of a pass takes
/// 1.5 ms and the repair that it may spare 110 ms on two cores, so this is about where the two meet.
const WORTH_A_ROW: f64 = 0.01;

/// Alternatives to one draft, at most.
const ALTERNATIVES: usize = 24;

/// A token below this probability is tested among others rather than at the head of a draft.
const WORTH_A_DRAFT: f64 = 0.5;

impl LensProposals {
    /// Proposes by this lens, up to 1024 candidates at each position.
    pub fn new(lens: Arc<Lens>) -> Self {
        LensProposals { lens, limit: 1024, known: None, deep: None }
    }

    /// The same, with another number of candidates at each position.
    pub fn up_to(self, limit: usize) -> Self {
        LensProposals { limit, ..self }
    }

    fn known(&mut self, decoder: &Decoder, target: &TargetStates) -> Result<&Known, InvertError> {
        let known = match self.known.take() {
            Some(known) if known.target == target.id() => known,
            _ => {
                self.lens.check(decoder, target)?;
                let all = 0..target.positions();
                let lists = |evidence| self.lens.shortlists(decoder, target, all.clone(), SHORT, evidence);
                let alone = self.lens.has_prior().then(|| lists(Evidence::State)).transpose()?;
                Known { target: target.id(), lists: lists(Evidence::StateAndPrior)?, alone }
            }
        };
        Ok(self.known.insert(known))
    }
}

impl Known {
    /// The ranking that was right more often at the positions already settled.
    fn better(&self, settled: &[u32]) -> (&[Shortlist], Evidence) {
        let Some(alone) = &self.alone else { return (&self.lists, Evidence::StateAndPrior) };
        let right = |lists: &[Shortlist]| {
            let first = |(list, id): &(&Shortlist, &u32)| list.first().is_some_and(|(first, _)| first == *id);
            lists.iter().zip(settled).filter(first).count()
        };
        match right(alone) > right(&self.lists) {
            true => (alone, Evidence::State),
            false => (&self.lists, Evidence::StateAndPrior),
        }
    }
}

impl Proposer for LensProposals {
    fn name(&self) -> &'static str {
        "lens"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Vec<u32>>, InvertError> {
        let (lists, _) = self.known(open.decoder, open.target)?.better(open.prefix);
        let mut draft = Vec::new();
        let mut likely = 1.0;
        for list in &lists[open.prefix.len()..] {
            let left = untested(list, draft.is_empty(), open);
            let Some((id, _)) = left.first() else { break };
            let probability = share(&left, 0);
            if draft.is_empty() && !open.tested.is_empty() && probability < WORTH_A_DRAFT {
                return Ok(None);
            }
            if likely < LEAST_LIKELY && draft.len() >= SHORTEST {
                break;
            }
            likely *= probability;
            draft.push(*id);
        }
        Ok((!draft.is_empty()).then_some(draft))
    }

    fn alternatives(&mut self, open: &Open<'_>, draft: &[u32]) -> Result<Vec<Alternative>, InvertError> {
        let (lists, _) = self.known(open.decoder, open.target)?.better(open.prefix);
        let mut alternatives: Vec<(f64, Alternative)> = Vec::new();
        let mut likely = 1.0;
        for (place, list) in lists[open.prefix.len()..].iter().enumerate().take(draft.len()) {
            let left = untested(list, place == 0, open);
            let probability = |rank: usize| likely * share(&left, rank);
            let others =
                (1..left.len()).map(|rank| (probability(rank), Alternative { place, id: left[rank].0 }));
            alternatives.extend(others.filter(|(probability, _)| *probability >= WORTH_A_ROW));
            likely = probability(0);
        }
        alternatives.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        alternatives.truncate(ALTERNATIVES);
        Ok(alternatives.into_iter().map(|(_, alternative)| alternative).collect())
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let position = place.position();
        let (limit, tested) = (self.limit, place.tested);
        let known = self.known(place.decoder, place.target)?;
        let (lists, evidence) = known.better(place.prefix);
        if tested.len() < SHORT {
            // Both rankings: what one misses the other may have.
            let other = known.alone.as_deref().unwrap_or(&known.lists);
            let both = lists[position].iter().chain(other[position].iter().take(SHORT));
            let fresh: Vec<u32> = both.map(|(id, _)| *id).filter(|&id| !tested.contains(id)).collect();
            if !fresh.is_empty() {
                return Ok(fresh);
            }
        }
        let key = (place.target.id(), position, evidence);
        let list = match self.deep.take() {
            Some((known, list)) if known == key => list,
            _ => {
                let here = position..position + 1;
                self.lens.shortlists(place.decoder, place.target, here, limit, evidence)?.swap_remove(0)
            }
        };
        let (_, list) = self.deep.insert((key, list));
        let untested = list.iter().map(|(id, _)| *id).filter(|&id| !tested.contains(id));
        Ok(untested.take(growing(tested.len())).collect())
    }
}

/// The tokens of a list that were not tested yet, at the first open position.
fn untested<'a>(list: &'a Shortlist, first: bool, open: &Open<'_>) -> Vec<&'a (u32, f32)> {
    list.iter().filter(|(id, _)| !(first && open.tested.contains(*id))).collect()
}

/// The probability of one of some tokens, if it is one of them.
fn share(list: &[&(u32, f32)], rank: usize) -> f64 {
    let (Some((_, best)), Some((_, own))) = (list.first(), list.get(rank)) else { return 0.0 };
    let weight = |score: f32| f64::from(score - best).exp();
    weight(*own) / list.iter().map(|(_, score)| weight(*score)).sum::<f64>()
}
