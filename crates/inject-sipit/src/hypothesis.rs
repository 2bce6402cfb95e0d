//! A prompt as far as it is recovered, and what is known of the prompts that were given up.

use std::time::Instant;

use inject_collisions::models::{Decoder, Logits, PrefixCache, TokenBatch};

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

    /// The first position from which on the whole vocabulary was tested at every one.
    pub(crate) fn whole_from(&self, vocab_size: usize) -> usize {
        let in_part = |position: &Position| position.candidates_tested < vocab_size;
        self.positions.iter().rposition(in_part).map_or(0, |last| last + 1)
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
    /// Nothing fitted behind it. From the position `whole_from` on, the whole vocabulary was tested at each of its own positions; before, some
    /// token may fit too that nobody followed.
    NothingFits { nearest: f64, candidates_tested: usize, whole_from: usize },
    /// The budget was spent before everything behind it was tested: no evidence at all.
    NotTested,
    /// There was no room for it in the beam: no evidence either.
    NoRoom,
}

impl Graveyard {
    pub(crate) fn bury(&mut self, ids: Vec<u32>, evidence: Evidence) {
        self.dead.push(Dead { ids, evidence });
    }

    /// Rewrites the ambiguous verdicts of the hypothesis kept: a token none of whose continuations fits is ruled out; one with a
    /// continuation that was not looked for, was dropped for want of room, or still stands in `alive`, is not.
    pub(crate) fn resolve(&self, kept: &mut [Position], alive: &[Vec<u32>]) {
        let ids: Vec<u32> = kept.iter().map(|position| position.token_id).collect();
        for (p, position) in kept.iter_mut().enumerate() {
            let Verdict::Ambiguous { candidates, more } = &mut position.verdict else { continue };
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
                let against = ends.iter().filter_map(|dead| match dead.evidence {
                    Evidence::NothingFits { nearest, candidates_tested, whole_from } => {
                        (whole_from <= p + 1).then_some((dead.ids.len(), nearest, candidates_tested))
                    }
                    Evidence::NotTested | Evidence::NoRoom => None,
                });
                let evidence: Vec<_> = against.collect();
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
            if candidates.len() == 1 && !*more {
                position.verdict = Verdict::Verified;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use inject_collisions::Ranked;

    use super::*;

    fn position(position: usize, token_id: u32, candidates: &[u32]) -> Position {
        let listed = candidates.iter().map(|&id| Ranked { id, distance: 0.5 }).collect();
        let verdict = match candidates.is_empty() {
            true => Verdict::Verified,
            false => Verdict::Ambiguous { candidates: listed, more: false },
        };
        Position {
            position,
            verdict,
            token_id,
            distance: 0.5,
            runner_up: None,
            margin: None,
            noise_floor: 1.0,
            candidates_tested: 10,
            found_by: "scan",
            ruled_out: Vec::new(),
        }
    }

    /// What becomes of the second position, at which tokens 4 and 5 fitted, where `dead` came to nothing behind 5.
    fn resolved(dead: &[(&[u32], Evidence)]) -> Verdict {
        let mut graveyard = Graveyard::default();
        dead.iter().for_each(|&(ids, evidence)| graveyard.bury(ids.to_vec(), evidence));
        let mut kept =
            vec![position(0, 3, &[]), position(1, 4, &[4, 5]), position(2, 6, &[]), position(3, 7, &[])];
        graveyard.resolve(&mut kept, &[]);
        kept.swap_remove(1).verdict
    }

    #[test]
    fn a_token_is_ruled_out_only_where_nothing_behind_it_was_left_untested() {
        let nothing_fits =
            |whole_from| Evidence::NothingFits { nearest: 9.0, candidates_tested: 97, whole_from };
        let ambiguous = |verdict: Verdict| matches!(verdict, Verdict::Ambiguous { .. });
        // Right behind it nothing fits; the positions before are the same for both.
        assert_eq!(resolved(&[(&[3, 5], nothing_fits(2))]), Verdict::Verified);
        // Token 8 fitted behind it, and was the only one to: the whole vocabulary was tested there.
        assert_eq!(resolved(&[(&[3, 5, 8], nothing_fits(2))]), Verdict::Verified);
        // Token 8 fitted, and the rest was not tested.
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(3))])));
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(2)), (&[3, 5, 9, 1], nothing_fits(3))])));
        assert!(ambiguous(resolved(&[(&[3, 5], Evidence::NotTested)])));
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(2)), (&[3, 5], Evidence::NoRoom)])));
        assert!(ambiguous(resolved(&[])));
    }

    #[test]
    fn positions_are_whole_from_behind_the_last_that_is_not() {
        let tested = |counts: &[usize]| {
            let mut hypothesis = Hypothesis::new();
            for (at, &candidates_tested) in counts.iter().enumerate() {
                hypothesis.push(Position { candidates_tested, ..position(at, 1, &[]) });
            }
            hypothesis.whole_from(97)
        };
        assert_eq!(tested(&[]), 0);
        assert_eq!(tested(&[97, 97]), 0);
        assert_eq!(tested(&[97, 3, 97]), 2);
        assert_eq!(tested(&[97, 97, 96]), 3);
    }
}
