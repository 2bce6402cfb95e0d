//! Batches of candidates at one open position, behind every hypothesis still standing.

use std::time::Instant;

use inject_collisions::models::{Decoder, PrefixCache, Tap};

use super::{Inverter, Phase, Run, verify::other};
use crate::{
    InvertError, Place, Policy, Position, Scan, Tested, Verdict,
    acceptance::Yardstick,
    hypothesis::{Evidence, Hypothesis},
    read,
};

/// What became of a position.
pub(super) enum Outcome {
    /// Some candidates fit: the hypotheses that go on, best first.
    Settled(Vec<Hypothesis>),
    /// None fits behind any hypothesis: the best one, and the position as far as it was explored.
    Stuck { best: Box<Hypothesis>, position: Box<Position> },
}

/// The search at the open position behind one hypothesis.
pub(super) struct Trial {
    pub(super) hypothesis: Hypothesis,
    pub(super) tested: Tested,
    pub(super) yardstick: Yardstick,
    /// The candidate looked at more closely, if one came near enough for that.
    pub(super) examined: Option<u32>,
    /// The largest distance between two computations of one candidate here.
    pub(super) seen: f64,
    /// The next token of the scan.
    next: u32,
    /// Who proposed the candidates, batch by batch.
    proposed: Vec<(&'static str, usize)>,
    spent: bool,
}

impl Inverter<'_> {
    /// Tests candidates at the open position until some fit.
    pub(super) fn step(
        &self,
        beam: Vec<Hypothesis>,
        run: &mut Run<'_>,
        policy: &mut Policy,
    ) -> Result<Outcome, InvertError> {
        let at = beam[0].len();
        // What a draft showed at this position belongs to the one hypothesis there was.
        let mut known = Some(std::mem::replace(&mut run.tested, Tested::new()));
        let mut trials: Vec<Trial> = beam
            .into_iter()
            .map(|hypothesis| {
                let tested = known.take().unwrap_or_else(Tested::new);
                Trial {
                    hypothesis,
                    proposed: if tested.is_empty() { Vec::new() } else { vec![("draft", tested.len())] },
                    tested,
                    yardstick: self.yardstick(run, at, 0.0),
                    examined: None,
                    seen: 0.0,
                    next: 0,
                    spent: false,
                }
            })
            .collect();
        let mut out_of_budget = false;
        loop {
            for trial in &mut trials {
                self.examine(trial, run)?;
            }
            // A hypothesis behind which nothing fitted yet is followed to the end of the vocabulary, even where something fits
            // behind another: only then does it speak against its tokens.
            let open = |trial: &Trial| !trial.spent && !self.satisfied(&trial.tested);
            let Some(most) = trials.iter().filter(|trial| open(trial)).map(|trial| trial.tested.len()).max()
            else {
                break;
            };
            if self.out_of_budget(run, most) {
                out_of_budget = true;
                break;
            }
            for trial in trials.iter_mut().filter(|trial| open(trial)) {
                self.test_batch(trial, run, policy)?;
            }
        }
        Ok(self.sort_out(trials, run, at, out_of_budget))
    }

    /// Whether enough was tested behind a hypothesis, and something fits.
    fn satisfied(&self, tested: &Tested) -> bool {
        !tested.fitting().is_empty()
            && tested.len() > self.settings.rivals
            && self.settings.scan == Scan::AsNeeded
    }

    /// One more batch of candidates: proposed, or the next of the scan.
    fn test_batch(
        &self,
        trial: &mut Trial,
        run: &mut Run<'_>,
        policy: &mut Policy,
    ) -> Result<(), InvertError> {
        let prefix = trial.hypothesis.ids();
        let cache = trial.hypothesis.cache(self.decoder, run.target, &mut run.cost)?;
        let place = Place {
            decoder: self.decoder,
            vocabulary: &self.vocabulary,
            target: run.target,
            prefix: &prefix,
            cache,
            tested: &trial.tested,
        };
        let (source, mut ids) = match policy.propose(&place, &mut run.cost)? {
            Some(proposed) => proposed,
            None => ("scan", self.next_of_scan(&trial.tested, &mut trial.next, prefix.len())),
        };
        if ids.is_empty() {
            trial.spent = true;
            return Ok(());
        }
        let most = self.settings.budget.candidates.unwrap_or(usize::MAX);
        ids.truncate(most.saturating_sub(trial.tested.len()));
        let wanted = run.target.state(prefix.len());
        let mut tested = 0;
        for batch in ids.chunks(self.batch(prefix.len())) {
            if tested > 0 && (self.satisfied(&trial.tested) || self.time_is_up(run)) {
                break;
            }
            let start = Instant::now();
            let states = candidate_states(self.decoder, cache, batch, self.tap)?;
            for (&id, state) in batch.iter().zip(states.chunks(run.target.d_model())) {
                trial.tested.compare(id, state, &trial.yardstick, wanted);
            }
            tested += batch.len();
            run.cost.stage(source).add_batch(batch.len(), start.elapsed().as_secs_f64());
            self.report(run, Phase::Recover, prefix.len(), trial.tested.len());
        }
        trial.proposed.push((source, tested));
        Ok(())
    }

    /// The next tokens in the order of their ids that were not tested yet.
    pub(super) fn next_of_scan(&self, tested: &Tested, next: &mut u32, held: usize) -> Vec<u32> {
        let vocab_size = self.decoder.config().vocab_size as u32;
        let batch = self.batch(held);
        let mut ids = Vec::with_capacity(batch);
        while *next < vocab_size && ids.len() < batch {
            if !tested.contains(*next) {
                ids.push(*next);
            }
            *next += 1;
        }
        ids
    }

    /// How many candidates one batch may hold within the memory budget.
    pub(super) fn batch(&self, held: usize) -> usize {
        /// From there on a CPU is no faster.
        const MOST: usize = 512;
        self.rows_in_memory(held + 1).min(MOST)
    }

    /// Children of the hypotheses behind which something fits; the others are buried.
    fn sort_out(&self, trials: Vec<Trial>, run: &mut Run<'_>, at: usize, out_of_budget: bool) -> Outcome {
        if trials.iter().all(|trial| trial.tested.fitting().is_empty()) {
            return self.stuck(trials, run, at, out_of_budget);
        }
        let wanted = run.target.state(at);
        let mut children: Vec<Hypothesis> = Vec::new();
        for trial in trials {
            let fitting = trial.tested.fitting();
            if fitting.is_empty() {
                let nearest =
                    trial.tested.ranking().nearest().map_or(f64::INFINITY, |ranked| ranked.distance);
                let evidence = match trial.spent {
                    true => Evidence::NothingFits {
                        nearest,
                        candidates_tested: trial.tested.len(),
                        whole_from: trial.hypothesis.whole_from(self.decoder.config().vocab_size),
                    },
                    false => Evidence::NotTested,
                };
                run.graveyard.bury(trial.hypothesis.ids(), evidence);
                continue;
            }
            if trial.tested.more_fit() {
                // Nobody follows those, so nothing found behind the others speaks against an earlier token.
                run.graveyard.bury(trial.hypothesis.ids(), Evidence::NoRoom);
            }
            let floor = trial.yardstick.floor(wanted);
            for &candidate in fitting {
                let mut child = trial.hypothesis.clone();
                let verdict = match fitting {
                    [_] => Verdict::Verified,
                    _ => Verdict::Ambiguous { candidates: fitting.to_vec(), more: trial.tested.more_fit() },
                };
                child.push(position(&trial, at, candidate, floor, verdict));
                children.push(child);
            }
        }
        children.sort_by(|a, b| a.strain().total_cmp(&b.strain()));
        let room = self.settings.beam.max(1).min(children.len());
        for child in children.drain(room..) {
            run.graveyard.bury(child.ids(), Evidence::NoRoom);
        }
        Outcome::Settled(children)
    }

    fn stuck(&self, trials: Vec<Trial>, run: &mut Run<'_>, at: usize, out_of_budget: bool) -> Outcome {
        let wanted = run.target.state(at);
        let mut trials = trials;
        trials.sort_by(|a, b| a.hypothesis.strain().total_cmp(&b.hypothesis.strain()));
        let verdict = if out_of_budget { Verdict::Open } else { Verdict::Failed };
        let best = trials.remove(0);
        let nearest =
            best.tested.ranking().nearest().unwrap_or(crate::Ranked { id: 0, distance: f64::INFINITY });
        let position = position(&best, at, nearest, best.yardstick.floor(wanted), verdict);
        for trial in trials {
            run.graveyard.bury(trial.hypothesis.ids(), Evidence::NoRoom);
        }
        Outcome::Stuck { best: Box::new(best.hypothesis), position: Box::new(position) }
    }
}

fn position(trial: &Trial, at: usize, taken: crate::Ranked, noise_floor: f64, verdict: Verdict) -> Position {
    let runner_up = other(&trial.tested, taken.id);
    Position {
        position: at,
        verdict,
        token_id: taken.id,
        distance: taken.distance,
        runner_up,
        margin: runner_up.map(|other| other.distance - taken.distance),
        noise_floor,
        candidates_tested: trial.tested.len(),
        found_by: trial.found_by(taken.id),
        ruled_out: Vec::new(),
    }
}

impl Trial {
    /// Who proposed a tested token; nobody one that was not tested.
    fn found_by(&self, id: u32) -> &'static str {
        let Some(place) = self.tested.place(id) else { return "none" };
        let mut end = 0;
        for &(source, count) in &self.proposed {
            end += count;
            if place < end {
                return source;
            }
        }
        "scan"
    }
}

/// The states of candidates on the host, row after row.
pub(super) fn candidate_states(
    decoder: &Decoder,
    cache: &PrefixCache,
    ids: &[u32],
    tap: Tap,
) -> Result<Vec<f64>, InvertError> {
    read(decoder.candidates(cache, ids, tap)?)
}
