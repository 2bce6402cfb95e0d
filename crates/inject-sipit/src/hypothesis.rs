//! A prompt as far as it is recovered, and what is known of the prompts that were given up.

use std::time::Instant;

use inject_collisions::{Decoder, Logits, PrefixCache, TokenBatch};

use crate::{Cost, InvertError, Position, RuledOut, TargetStates, Verdict};

/// One way to read the states so far.
#[derive(Clone, Debug)]
pub(crate) struct Hypothesis {
    pub(crate) positions: Vec<Position>,
    /// Made when it is first needed: most prompts are recovered by drafts that need none.
    cache: Option<PrefixCache>,
    /// Sum over the positions of the squared distance in units of the floor: what tells apart hypotheses that all fit.
    strain: f64,
}

impl Hypothesis {
    /// Nothing recovered yet.
    pub(crate) fn new() -> Self {
        Hypothesis { positions: Vec::new(), cache: None, strain: 0.0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.positions.iter().map(|position| position.token_id).collect()
    }

    pub(crate) fn strain(&self) -> f64 {
        self.strain
    }

    /// The cache of all tokens so far; those it lacks are computed now, and counted.
    pub(crate) fn cache(
        &mut self,
        decoder: &Decoder,
        target: &TargetStates,
        cost: &mut Cost,
    ) -> Result<&mut PrefixCache, InvertError> {
        let ids = self.ids();
        let cache = self.cache_as_is(decoder, target)?;
        if cache.len() > ids.len() {
            cache.truncate(ids.len());
        } else if cache.len() < ids.len() {
            let start = Instant::now();
            let missing = &ids[cache.len()..];
            decoder.extend(cache, &TokenBatch::new(&[missing])?, &[], Logits::None)?;
            cost.stage("prefix").add_states(missing.len(), 1.0, start.elapsed().as_secs_f64());
        }
        Ok(cache)
    }

    /// The cache as it is: it may lack tokens at the end, or hold tokens of a draft that came to nothing.
    pub(crate) fn cache_as_is(
        &mut self,
        decoder: &Decoder,
        target: &TargetStates,
    ) -> Result<&mut PrefixCache, InvertError> {
        let made = match self.cache.take() {
            Some(cache) => cache,
            None => decoder.prefix_cache(1, target.positions(), target.tap())?,
        };
        Ok(self.cache.insert(made))
    }

    /// Forgets the keys and values computed from this position on: those of a token that was replaced, and of what stood behind it.
    pub(crate) fn forget_computed(&mut self, position: usize) {
        if let Some(cache) = &mut self.cache
            && cache.len() > position
        {
            cache.truncate(position);
        }
    }

    pub(crate) fn push(&mut self, position: Position) {
        let strain = position.distance / position.noise_floor.max(f64::MIN_POSITIVE);
        self.strain += if strain.is_finite() { strain * strain } else { 0.0 };
        self.positions.push(position);
    }
}

/// Hypotheses that were given up, with the evidence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graveyard {
    dead: Vec<Dead>,
}

#[derive(Clone, Debug)]
struct Dead {
    ids: Vec<u32>,
    evidence: Evidence,
}

/// Why a hypothesis was given up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evidence {
    /// Nothing fitted behind it.
    NothingFits { nearest: f64, candidates_tested: usize },
    /// The budget was spent before everything behind it was tested: no evidence at all.
    NotTested,
    /// There was no room for it in the beam: no evidence either.
    NoRoom,
}

impl Graveyard {
    pub(crate) fn bury(&mut self, ids: Vec<u32>, evidence: Evidence) {
        self.dead.push(Dead { ids, evidence });
    }

    /// Rewrites the ambiguous verdicts of the hypothesis kept: a token all of whose continuations found nothing that fits is
    /// ruled out; one that was dropped for want of room, or still stands in `alive`, is not.
    pub(crate) fn resolve(&self, kept: &mut [Position], alive: &[Vec<u32>]) {
        let ids: Vec<u32> = kept.iter().map(|position| position.token_id).collect();
        for (p, position) in kept.iter_mut().enumerate() {
            let Verdict::Ambiguous { candidates } = &mut position.verdict else { continue };
            candidates.retain(|candidate| {
                if candidate.id == ids[p] {
                    return true;
                }
                let descends =
                    |other: &[u32]| other.len() > p && other[..p] == ids[..p] && other[p] == candidate.id;
                if alive.iter().any(|other| descends(other)) {
                    return true;
                }
                let ends: Vec<&Dead> = self.dead.iter().filter(|dead| descends(&dead.ids)).collect();
                let deepest = ends.iter().filter_map(|dead| match dead.evidence {
                    Evidence::NothingFits { nearest, candidates_tested } => {
                        Some((dead.ids.len(), nearest, candidates_tested))
                    }
                    Evidence::NotTested | Evidence::NoRoom => None,
                });
                let evidence: Vec<_> = deepest.collect();
                if evidence.is_empty() || evidence.len() < ends.len() {
                    return true;
                }
                if let Some(&(at_position, nearest, candidates_tested)) =
                    evidence.iter().max_by_key(|(at, ..)| *at)
                {
                    let (token_id, distance) = (candidate.id, candidate.distance);
                    position.ruled_out.push(RuledOut {
                        token_id,
                        distance,
                        at_position,
                        nearest,
                        candidates_tested,
                    });
                }
                false
            });
            // The prefix itself is buried where more tokens fitted behind it than are listed.
            let all_listed = !self.dead.iter().any(|dead| dead.ids == ids[..p]);
            if candidates.len() == 1 && all_listed {
                position.verdict = Verdict::Verified;
            }
        }
    }
}
