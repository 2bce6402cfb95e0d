//! A prompt as far as it is recovered, and the evidence against abandoned ones.

use std::time::Instant;

use crate::{
    cost::Cost,
    error::InvertError,
    inversion::{Kept, Position, RuledOut, Verdict},
    models::{Decoder, Logits, PrefixCache, TokenBatch},
    target::TargetStates,
};

/// One reading of the states so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hypothesis {
    pub(crate) positions: Vec<Settled>,
    /// Made when it is first needed: most prompts are recovered by drafts that need none.
    cache: Option<PrefixCache>,
    /// Sum over the positions of the squared distance in units of the floor. It ranks hypotheses that all fit.
    strain: f64,
}

/// A position with a token.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    /// The caller knows the token.
    Given(u32),
    /// The token was found.
    Found(Found),
}

/// A position with a kept token.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) verdict: Verdict,
    pub(crate) kept: Kept,
    pub(crate) candidates_tested: usize,
    /// Whether some token may fit here by chance.
    pub(crate) weak: bool,
    pub(crate) ruled_out: Vec<RuledOut>,
}

impl Settled {
    pub(crate) fn token_id(&self) -> u32 {
        match self {
            Settled::Given(token_id) => *token_id,
            Settled::Found(found) => found.kept.token_id,
        }
    }

    pub(crate) fn found(&self) -> Option<&Found> {
        match self {
            Settled::Given(_) => None,
            Settled::Found(found) => Some(found),
        }
    }

    /// The position as a result.
    pub(crate) fn at(self, position: usize) -> Position {
        match self {
            Settled::Given(token_id) => Position::given(position, token_id),
            Settled::Found(Found { verdict, kept, candidates_tested, weak: _, ruled_out }) => {
                Position { position, verdict, kept: Some(kept), candidates_tested, ruled_out }
            }
        }
    }
}

impl Hypothesis {
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.positions.iter().map(Settled::token_id).collect()
    }

    /// The found positions, with their places.
    pub(crate) fn found(&self) -> impl Iterator<Item = (usize, &Found)> {
        self.positions.iter().enumerate().filter_map(|(at, settled)| Some((at, settled.found()?)))
    }

    /// The first position after which, itself included, the whole vocabulary was tested everywhere.
    pub(crate) fn whole_from(&self, vocab_size: usize) -> usize {
        let in_part = self.found().filter(|(_, found)| found.candidates_tested < vocab_size);
        in_part.last().map_or(0, |(last, _)| last + 1)
    }

    pub(crate) fn strain(&self) -> f64 {
        self.strain
    }

    /// The cache of all tokens so far. Missing ones are computed now, and counted.
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

    /// The cache as it is. It may lack tokens at the end, or hold tokens of a draft that failed.
    pub(crate) fn cache_as_is(
        &mut self,
        decoder: &Decoder,
        target: &TargetStates,
    ) -> Result<&mut PrefixCache, InvertError> {
        let made = match self.cache.take() {
            Some(cache) => cache,
            None => decoder.prefix_cache(1, target.sequence_len(), target.tap())?,
        };
        Ok(self.cache.insert(made))
    }

    /// Forgets the keys and values from this position on: those of a replaced token, and of all tokens after it.
    pub(crate) fn forget_computed(&mut self, position: usize) {
        if let Some(cache) = &mut self.cache
            && cache.len() > position
        {
            cache.truncate(position);
        }
    }

    pub(crate) fn give(&mut self, token_id: u32) {
        self.positions.push(Settled::Given(token_id));
    }

    pub(crate) fn push(&mut self, found: Found) {
        let strain = found.kept.distance / found.kept.noise_floor.max(f64::MIN_POSITIVE);
        self.strain += if strain.is_finite() { strain * strain } else { 0.0 };
        self.positions.push(Settled::Found(found));
    }
}

/// Abandoned hypotheses with the evidence against them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abandoned {
    hypotheses: Vec<(Vec<u32>, Evidence)>,
}

/// The reason why a hypothesis was abandoned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evidence {
    /// Nothing fitted after it. From the position `whole_from` on, the whole vocabulary was tested at each of its own positions.
    /// Before that, some token that was not followed may fit too.
    NothingFits { nearest: f64, candidates_tested: usize, whole_from: usize },
    /// The budget was spent before everything after it was tested: no evidence at all.
    NotTested,
    /// It had no room in the beam: no evidence either.
    NoRoom,
}

impl Abandoned {
    pub(crate) fn add(&mut self, ids: Vec<u32>, evidence: Evidence) {
        self.hypotheses.push((ids, evidence));
    }

    /// Rewrites the ambiguous verdicts of the kept hypothesis. A candidate is ruled out if nothing fits any of its continuations.
    /// It is not ruled out if one of them was not searched, had no room, or still stands in `alive`.
    pub(crate) fn resolve(&self, kept: &mut [Settled], alive: &[Vec<u32>]) {
        let ids: Vec<u32> = kept.iter().map(Settled::token_id).collect();
        for (p, settled) in kept.iter_mut().enumerate() {
            let Settled::Found(position) = settled else { continue };
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
                let ends: Vec<_> = self.hypotheses.iter().filter(|(other, _)| descends(other)).collect();
                let against = ends.iter().filter_map(|(other, evidence)| match *evidence {
                    Evidence::NothingFits { nearest, candidates_tested, whole_from } => {
                        (whole_from <= p + 1).then_some((other.len(), nearest, candidates_tested))
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
    use crate::collisions::Ranked;

    use super::*;

    fn found(token_id: u32, candidates: &[u32]) -> Found {
        let listed = candidates.iter().map(|&id| Ranked { id, distance: 0.5 }).collect();
        let verdict = match candidates.is_empty() {
            true => Verdict::Verified,
            false => Verdict::Ambiguous { candidates: listed, more: false },
        };
        let kept = Kept {
            token_id,
            distance: 0.5,
            runner_up: None,
            margin: None,
            noise_floor: 1.0,
            noise: crate::acceptance::NoiseOrigin::Computing,
            found_by: "scan",
        };
        Found { verdict, kept, candidates_tested: 10, weak: false, ruled_out: Vec::new() }
    }

    /// The verdict on the second position, which tokens 4 and 5 fitted, if `dead` were abandoned.
    fn resolved(dead: &[(&[u32], Evidence)]) -> Verdict {
        let mut abandoned = Abandoned::default();
        dead.iter().for_each(|&(ids, evidence)| abandoned.add(ids.to_vec(), evidence));
        let found = [found(3, &[]), found(4, &[4, 5]), found(6, &[]), found(7, &[])];
        let mut kept: Vec<Settled> = found.into_iter().map(Settled::Found).collect();
        abandoned.resolve(&mut kept, &[]);
        kept.swap_remove(1).at(1).verdict
    }

    #[test]
    fn a_token_is_ruled_out_only_if_everything_after_it_was_tested() {
        let nothing_fits =
            |whole_from| Evidence::NothingFits { nearest: 9.0, candidates_tested: 97, whole_from };
        let ambiguous = |verdict: Verdict| matches!(verdict, Verdict::Ambiguous { .. });
        // Nothing fits right after it. The earlier positions are the same for both.
        assert_eq!(resolved(&[(&[3, 5], nothing_fits(2))]), Verdict::Verified);
        // Token 8 alone fitted after it: the whole vocabulary was tested there.
        assert_eq!(resolved(&[(&[3, 5, 8], nothing_fits(2))]), Verdict::Verified);
        // Token 8 fitted, and the rest was not tested.
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(3))])));
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(2)), (&[3, 5, 9, 1], nothing_fits(3))])));
        assert!(ambiguous(resolved(&[(&[3, 5], Evidence::NotTested)])));
        assert!(ambiguous(resolved(&[(&[3, 5, 8], nothing_fits(2)), (&[3, 5], Evidence::NoRoom)])));
        assert!(ambiguous(resolved(&[])));
    }

    #[test]
    fn positions_are_whole_after_the_last_that_is_not() {
        let tested = |counts: &[usize]| {
            let mut hypothesis = Hypothesis::default();
            for &candidates_tested in counts {
                hypothesis.push(Found { candidates_tested, ..found(1, &[]) });
            }
            hypothesis.whole_from(97)
        };
        assert_eq!(tested(&[]), 0);
        assert_eq!(tested(&[97, 97]), 0);
        assert_eq!(tested(&[97, 3, 97]), 2);
        assert_eq!(tested(&[97, 97, 96]), 3);
    }
}
