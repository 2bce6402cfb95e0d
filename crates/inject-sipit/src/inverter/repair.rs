//! Batches of candidates at the first open position, after every hypothesis that stands.

use std::cmp::Ordering;

use crate::{
    error::InvertError,
    hypothesis::{Evidence, Hypothesis},
    inversion::Verdict,
    settings::OnFailure,
    sources::Tested,
};

use super::{
    branch::Branch,
    recovery::{Recovery, Stopped, open},
};

impl Recovery<'_, '_> {
    /// Tests candidates at the first open position until some fit, and follows those.
    pub(super) fn repair(&mut self) -> Result<(), InvertError> {
        let mut branches = self.branches();
        let mut out_of_budget = false;
        loop {
            for branch in &mut branches {
                branch.examine(&mut self.comparison)?;
            }
            if self.compare_anew(&mut branches)? {
                continue;
            }
            self.doubt(&branches)?;
            if self.factor.is_some() {
                self.beam = branches.into_iter().map(|branch| branch.hypothesis).collect();
                return Ok(());
            }
            if self.compare_anew_at_last(&mut branches)? {
                continue;
            }
            self.doubt_weights(&branches)?;
            if self.by_other_weights.is_some() {
                self.beam = branches.into_iter().map(|branch| branch.hypothesis).collect();
                return Ok(());
            }
            branches.iter_mut().for_each(|branch| branch.trial.accept_separated(&self.comparison));
            branches.iter_mut().for_each(|branch| branch.trial.follow_moved_sink(&self.comparison));
            // A hypothesis that nothing fitted yet is followed to the end of the vocabulary, even if something fits after another.
            // Only then is the failure evidence against its tokens.
            let unsatisfied = branches.iter().filter(|branch| !branch.is_done(&self.comparison));
            let Some(most) = unsatisfied.map(|branch| branch.trial.tested.len()).max() else { break };
            if self.comparison.out_of_budget(most) {
                out_of_budget = true;
                break;
            }
            self.test_batches(&mut branches)?;
        }
        // Out of budget, the best hypothesis that nothing excludes may be one that nothing fitted yet. It is kept all the same: what
        // fits after a worse one is not evidence against it.
        branches.sort_by(|a, b| a.is_excluded().cmp(&b.is_excluded()).then(by_strain(a, b)));
        let undecided = out_of_budget && branches[0].trial.tested.fitting().is_empty();
        match undecided || branches.iter().all(|branch| branch.trial.tested.fitting().is_empty()) {
            true => self.fail(branches, out_of_budget),
            false => self.follow(branches),
        }
        Ok(())
    }

    /// Tests a batch after each hypothesis that needs one.
    ///
    /// Where wrong tokens are expected to fit too, a prompt soon has as many hypotheses as are followed. Their nearest tokens are the same,
    /// so after the others only those nearest after the best one are tested.
    fn test_batches(&mut self, branches: &mut [Branch]) -> Result<(), InvertError> {
        let Some((best, others)) = branches.split_first_mut() else { return Ok(()) };
        if !best.is_done(&self.comparison) {
            best.test_batch(&mut self.search, &mut self.comparison)?;
        }
        for branch in others {
            if branch.is_done(&self.comparison) {
                continue;
            }
            if !branch.is_crowded(&self.comparison) {
                branch.test_batch(&mut self.search, &mut self.comparison)?;
            } else if best.is_done(&self.comparison) {
                let near = best.trial.tested.ranking().kept().iter().map(|near| near.id);
                let near: Vec<u32> = near.filter(|&id| !branch.trial.tested.contains(id)).collect();
                branch.test_these("hypotheses", &near, &mut self.comparison)?;
                branch.led = true;
            }
        }
        Ok(())
    }

    /// One branch for each hypothesis. Drafts test candidates only while there is a single hypothesis, so these belong to the first.
    fn branches(&mut self) -> Vec<Branch> {
        let at = self.settled();
        let mut known = Some(std::mem::replace(&mut self.tested, Tested::new()));
        let beam = std::mem::take(&mut self.beam).into_iter();
        beam.map(|hypothesis| {
            let tested = known.take().unwrap_or_else(Tested::new);
            Branch::new(hypothesis, at, tested, &self.comparison)
        })
        .collect()
    }

    /// Makes hypotheses of all candidates that fit, and abandons the branches without one.
    fn follow(&mut self, branches: Vec<Branch>) {
        let mut beam: Vec<Hypothesis> = Vec::new();
        for branch in branches {
            let (tested, ids) = (&branch.trial.tested, branch.hypothesis.ids());
            if tested.fitting().is_empty() {
                let nearest = tested.ranking().nearest().map_or(f64::INFINITY, |ranked| ranked.distance);
                let (candidates_tested, vocab_size) = (tested.len(), self.comparison.vocab_size());
                let whole_from = branch.hypothesis.whole_from(vocab_size);
                self.abandoned.add(
                    ids,
                    match branch.spent {
                        true => Evidence::NothingFits { nearest, candidates_tested, whole_from },
                        false => Evidence::NotTested,
                    },
                );
                continue;
            }
            if tested.more_fit() {
                // Tokens that fit and are not followed might go on. So a failure after the others is not evidence against an earlier token.
                self.abandoned.add(ids, Evidence::NoRoom);
            }
            let floor = branch.trial.floor(&self.comparison);
            let enough = branch.trial.is_enough(&self.comparison);
            for &candidate in tested.fitting() {
                let verdict = match tested.fitting() {
                    [_] if enough => Verdict::Verified,
                    all => {
                        let more = tested.more_fit() || !enough;
                        Verdict::Ambiguous { candidates: all.to_vec(), more }
                    }
                };
                let mut child = branch.hypothesis.clone();
                let kept = branch.trial.kept(candidate, floor, branch.origin(candidate));
                child.push(branch.trial.settled(kept, verdict, &self.comparison));
                beam.push(child);
            }
        }
        beam.sort_by(|a, b| a.strain().total_cmp(&b.strain()));
        let room = self.comparison.inverter.settings.beam.min(beam.len());
        for child in beam.drain(room..) {
            self.abandoned.add(child.ids(), Evidence::NoRoom);
        }
        self.beam = beam;
        self.learn_from_best();
    }

    /// Keeps the first hypothesis, which is the best, and continues with the nearest candidate or stops.
    fn fail(&mut self, mut branches: Vec<Branch>, out_of_budget: bool) {
        let mut best = branches.remove(0);
        for branch in branches {
            self.abandoned.add(branch.hypothesis.ids(), Evidence::NoRoom);
        }
        let trial = &best.trial;
        let floor = trial.floor(&self.comparison);
        let nearest =
            trial.tested.ranking().nearest().map(|nearest| trial.kept(nearest, floor, best.origin(nearest)));
        let go_on = self.comparison.inverter.settings.on_failure == OnFailure::GoOn && !out_of_budget;
        match nearest.filter(|_| go_on) {
            Some(kept) => best.hypothesis.push(trial.settled(kept, Verdict::Failed, &self.comparison)),
            None => {
                let verdict = if out_of_budget { open(&self.seen, trial.at) } else { Verdict::Failed };
                let candidates_tested = trial.tested.len();
                self.stopped = Some(Stopped { verdict, nearest, candidates_tested });
            }
        }
        self.beam = vec![best.hypothesis];
    }
}

fn by_strain(a: &Branch, b: &Branch) -> Ordering {
    a.hypothesis.strain().total_cmp(&b.hypothesis.strain())
}
