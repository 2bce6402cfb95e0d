//! One forward pass over a draft settles every position up to its first wrong token.

use std::time::Instant;

use burn::tensor::Tensor;

use crate::{
    acceptance::Acceptance,
    collisions::Ranked,
    error::InvertError,
    inversion::Verdict,
    models::{Alternative, Logits, TokenBatch},
    policy::Open,
    settings::{Scan, Settings},
    sources::{Draft, Tested},
    tuning::DRAFTED_MOST,
};

use super::{comparison::Phase, recovery::Recovery, trial::Trial};

/// An alternative to a token of a draft, and the state it has if all tokens before it are right.
pub(super) struct Beside<'a> {
    alternative: Alternative,
    state: &'a [f64],
}

/// Whether drafts may settle positions: not if rivals are to be tested beside each token, nor if all tokens within a bound of the
/// user's are asked for.
fn drafts_may_settle(settings: &Settings) -> bool {
    let users = settings.acceptance != Acceptance::default();
    settings.rivals == 0 && !(users && settings.scan == Scan::Whole)
}

impl Recovery<'_, '_> {
    /// Whether another pass over a draft may be worth its cost. Once several tokens fit a position, they are followed as
    /// hypotheses instead.
    pub(super) fn may_draft(&self) -> bool {
        drafts_may_settle(&self.comparison.inverter.settings)
            && self.comparison.inverter.next.is_none()
            && self.beam.len() == 1
            && self.tested.len() < DRAFTED_MOST
            && self.tested.fitting().is_empty()
            && !self.comparison.out_of_budget(self.tested.len())
    }

    /// A draft that begins with a token not tested yet.
    pub(super) fn next_draft(&mut self) -> Result<Option<Draft>, InvertError> {
        if !self.may_draft() {
            return Ok(None);
        }
        let (comparison, prefix) = (&mut self.comparison, self.beam[0].ids());
        self.seen.forget_before(prefix.len());
        let (deadline, progress) = (comparison.watch.deadline(), comparison.progress);
        let open = Open { prefix: &prefix, tested: &self.tested, deadline, progress };
        let Some(draft) = self.search.draft(open, &self.seen, &mut comparison.cost)? else { return Ok(None) };
        let positions = comparison.target.positions();
        let rows = comparison.rows_in_memory(positions);
        let mut draft = draft.cut(comparison.vocab_size(), rows.min(positions - prefix.len()));
        draft.alternatives.truncate(rows - draft.ids.len());
        if comparison.inverter.settings.budget.candidates.is_some() {
            // The pass would test more alternatives at a position than the budget allows.
            draft.alternatives.clear();
        }
        let begins_anew = draft.ids.first().is_some_and(|&id| !self.tested.contains(id));
        Ok(begins_anew.then_some(draft))
    }

    /// Computes the states of the draft after the hypothesis, and takes over its tokens up to the first that does not fit.
    pub(super) fn verify(&mut self, draft: &Draft) -> Result<(), InvertError> {
        let start = Instant::now();
        let Draft { ids, alternatives } = draft;
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let hypothesis = &mut self.beam[0];
        let begin = hypothesis.len();
        let known = hypothesis.ids();
        let cache = hypothesis.cache_as_is(inverter.decoder, target)?;
        let held = cache.len().min(begin);
        cache.truncate(held);
        let missing = [&known[held..], ids].concat();
        let (d_model, computed) = (target.d_model(), missing.len());
        let tokens = TokenBatch::new(&[missing])?;
        let after = |other: &Alternative| Alternative { place: begin - held + other.place, ..*other };
        let placed: Vec<Alternative> = alternatives.iter().map(after).collect();
        let drafted = |states: Tensor<2>| states.narrow(0, begin - held, ids.len());
        let states = if placed.is_empty() {
            let forward = inverter.decoder.extend(cache, &tokens, &[inverter.tap], Logits::None)?;
            drafted(forward.states[&inverter.tap].clone().reshape([computed, d_model]))
        } else {
            let (states, beside) =
                inverter.decoder.extend_with_alternatives(cache, &tokens, &placed, inverter.tap)?;
            Tensor::cat(vec![drafted(states), beside], 0)
        };
        // All of it in one read, because a read waits for the device.
        let states = self.comparison.states(states)?;
        let (states, beside) = states.split_at(ids.len() * d_model);
        let beside = alternatives.iter().zip(beside.chunks(d_model));
        let beside: Vec<Beside<'_>> =
            beside.map(|(&alternative, state)| Beside { alternative, state }).collect();
        self.take_over(ids, states, &beside)?;
        let seconds = start.elapsed().as_secs_f64();
        self.comparison.cost.stage("draft").add_states(computed + alternatives.len(), 1.0, seconds);
        self.comparison.report(Phase::Recover, self.settled(), self.tested.len());
        Ok(())
    }

    /// Compares the states of a draft and of its alternatives, position by position, up to the first at which the drafted token is
    /// not the one that fits. The distances after that are kept as provisional.
    pub(super) fn take_over(
        &mut self,
        draft: &[u32],
        states: &[f64],
        beside: &[Beside<'_>],
    ) -> Result<(), InvertError> {
        let target = self.comparison.target;
        let begin = self.settled();
        let drafted: Vec<(u32, &[f64])> =
            draft.iter().copied().zip(states.chunks(target.d_model())).collect();
        let at_place = |place: usize| {
            let here = beside.iter().filter(move |other| other.alternative.place == place);
            here.map(|other| (other.alternative.id, other.state))
        };
        for (place, &(id, state)) in drafted.iter().enumerate() {
            let position = self.settled();
            let tested = std::mem::replace(&mut self.tested, Tested::new());
            let mut trial = Trial::at(position, tested, &self.comparison);
            for (id, state) in std::iter::once((id, state)).chain(at_place(place)) {
                // An earlier draft of this position may have held the token.
                if !trial.tested.contains(id) {
                    trial.tested.compare(id, state, &trial.yardstick, target.state(position));
                    self.comparison.cost.stage("draft").candidates += 1;
                }
            }
            if trial.tested.fitting().is_empty() && self.calibrate_for_grid()? {
                trial.begin_anew(&self.comparison);
            }
            let only = match trial.tested.fitting() {
                [only] if trial.is_enough(&self.comparison) => Some(*only),
                _ => None,
            };
            if only.is_none_or(|only| only.id != id) {
                self.beam[0].forget_computed(position);
            }
            let Some(taken) = only else {
                self.tested = trial.tested;
                break;
            };
            let kept = trial.kept(taken, trial.floor(&self.comparison), "draft");
            self.beam[0].push(trial.settled(kept, Verdict::Verified, &self.comparison));
            if let (Some(producer), Some((at, last))) = (&mut self.comparison.producer, self.beam[0].last()) {
                producer.learn(at, last, target);
            }
            if taken.id != id {
                break;
            }
        }
        for (place, &own) in drafted.iter().enumerate().skip(self.settled() - begin) {
            let position = begin + place;
            let yardstick = self.comparison.yardstick(position, None);
            for (id, state) in std::iter::once(own).chain(at_place(place)) {
                let distance = yardstick.measure(state, target.state(position)).distance;
                self.seen.record(position, Ranked { id, distance });
            }
        }
        Ok(())
    }
}
