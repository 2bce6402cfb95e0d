//! One forward pass over a draft settles every position up to its first wrong token.

use std::time::Instant;

use inject_collisions::{
    Ranked,
    models::{Alternative, Logits, TokenBatch},
};

use super::{Inverter, Phase, Run};
use crate::{Draft, InvertError, Position, Tested, Verdict, hypothesis::Hypothesis, read};

/// An alternative to a token of a draft, and the state it has if all before it are right.
pub(super) struct Beside<'a> {
    pub(super) alternative: Alternative,
    pub(super) state: &'a [f64],
}

impl Inverter<'_> {
    /// Computes the states of the draft behind the hypothesis, and takes over its tokens up to the first that does not fit.
    pub(super) fn verify(
        &self,
        hypothesis: &mut Hypothesis,
        draft: &Draft,
        run: &mut Run<'_>,
    ) -> Result<(), InvertError> {
        let start = Instant::now();
        let Draft { ids, alternatives } = draft;
        let begin = hypothesis.len();
        let cache = hypothesis.cache_as_is(self.decoder, run.target)?;
        let held = cache.len().min(begin);
        cache.truncate(held);
        let missing: Vec<u32> = hypothesis.positions[held..]
            .iter()
            .map(|position| position.token_id)
            .chain(ids.iter().copied())
            .collect();
        let cache = hypothesis.cache_as_is(self.decoder, run.target)?;
        let (d_model, computed) = (run.target.d_model(), missing.len());
        let tokens = TokenBatch::new(&[missing])?;
        let behind = |other: &Alternative| Alternative { place: begin - held + other.place, ..*other };
        let placed: Vec<Alternative> = alternatives.iter().map(behind).collect();
        let (states, beside) = if placed.is_empty() {
            let forward = self.decoder.extend(cache, &tokens, &[self.tap], Logits::None)?;
            (forward.states[&self.tap].clone().reshape([computed, d_model]), Vec::new())
        } else {
            let (states, beside) =
                self.decoder.extend_with_alternatives(cache, &tokens, &placed, self.tap)?;
            (states, read(beside)?)
        };
        let states = read(states.narrow(0, begin - held, ids.len()))?;
        let beside = alternatives.iter().zip(beside.chunks(d_model));
        let beside: Vec<Beside<'_>> =
            beside.map(|(&alternative, state)| Beside { alternative, state }).collect();
        self.take_over(hypothesis, ids, &states, &beside, run);
        let seconds = start.elapsed().as_secs_f64();
        run.cost.stage("draft").add_states(computed + alternatives.len(), 1.0, seconds);
        self.report(run, Phase::Recover, hypothesis.len(), run.tested.len());
        Ok(())
    }

    /// Compares the states of a draft and of its alternatives, place by place, up to the first at which the drafted token is not the
    /// one that fits. What is behind it tells only where the tokens are likely right.
    pub(super) fn take_over(
        &self,
        hypothesis: &mut Hypothesis,
        draft: &[u32],
        states: &[f64],
        beside: &[Beside<'_>],
        run: &mut Run<'_>,
    ) {
        let d_model = run.target.d_model();
        let begin = hypothesis.len();
        let drafted: Vec<(u32, &[f64])> = draft.iter().copied().zip(states.chunks(d_model)).collect();
        let at_place = |place: usize| {
            let here = beside.iter().filter(move |other| other.alternative.place == place);
            here.map(|other| (other.alternative.id, other.state))
        };
        for (place, &(id, state)) in drafted.iter().enumerate() {
            let position = hypothesis.len();
            let wanted = run.target.state(position);
            let yardstick = self.yardstick(run, position, 0.0);
            for (id, state) in std::iter::once((id, state)).chain(at_place(place)) {
                // An earlier draft of this position may have held it.
                if !run.tested.contains(id) {
                    run.tested.compare(id, state, &yardstick, wanted);
                    run.cost.stage("draft").candidates += 1;
                }
            }
            let only = match run.tested.fitting() {
                [only] => Some(*only),
                // Several that fit are hypotheses, and followed as such.
                _ => None,
            };
            if only.is_none_or(|only| only.id != id) {
                hypothesis.forget_computed(position);
            }
            let Some(taken) = only else { break };
            let tested = std::mem::replace(&mut run.tested, Tested::new());
            hypothesis.push(Position {
                position,
                verdict: Verdict::Verified,
                token_id: taken.id,
                distance: taken.distance,
                runner_up: other(&tested, taken.id),
                margin: other(&tested, taken.id).map(|other| other.distance - taken.distance),
                noise_floor: yardstick.floor(wanted),
                candidates_tested: tested.len(),
                found_by: "draft",
                ruled_out: Vec::new(),
            });
            if taken.id != id {
                break;
            }
        }
        for (place, &own) in drafted.iter().enumerate().skip(hypothesis.len() - begin) {
            let position = begin + place;
            let wanted = run.target.state(position);
            let yardstick = self.yardstick(run, position, 0.0);
            for (id, state) in std::iter::once(own).chain(at_place(place)) {
                let distance = yardstick.measure(state, wanted).distance;
                run.provisional.take_up(position, Ranked { id, distance });
            }
        }
    }
}

/// The nearest candidate other than the one taken.
pub(super) fn other(tested: &Tested, id: u32) -> Option<Ranked> {
    tested.ranking().kept().iter().copied().find(|ranked| ranked.id != id)
}
