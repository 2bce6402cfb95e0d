//! One forward pass over a draft settles every position up to its first wrong token.

use std::time::Instant;

use inject_collisions::{Logits, TokenBatch};

use super::{Inverter, Phase, Run};
use crate::{Draft, InvertError, Position, Tested, Verdict, hypothesis::Hypothesis, read};

impl Inverter<'_> {
    /// Computes the states of the draft behind the hypothesis, and takes over its tokens up to the first that does not fit.
    pub(super) fn verify(
        &self,
        hypothesis: &mut Hypothesis,
        draft: &[u32],
        run: &mut Run<'_>,
    ) -> Result<(), InvertError> {
        let start = Instant::now();
        let begin = hypothesis.len();
        let cache = hypothesis.cache_as_is(self.decoder, run.target)?;
        let held = cache.len().min(begin);
        cache.truncate(held);
        let missing: Vec<u32> = hypothesis.positions[held..]
            .iter()
            .map(|position| position.token_id)
            .chain(draft.iter().copied())
            .collect();
        let cache = hypothesis.cache_as_is(self.decoder, run.target)?;
        let computed = missing.len();
        let forward = self.decoder.extend(cache, &TokenBatch::new(&[missing])?, &[self.tap], Logits::None)?;
        let d_model = run.target.d_model();
        let states = forward.states[&self.tap].clone().reshape([computed, d_model]);
        let states = read(states.narrow(0, begin - held, draft.len()))?;
        self.take_over(hypothesis, draft, &states, run);
        let stage = run.cost.stage("draft");
        stage.states += computed;
        stage.testing_seconds += start.elapsed().as_secs_f64();
        self.report(run, Phase::Recover, hypothesis.len(), run.tested.len());
        Ok(())
    }

    /// Compares the states of a draft, one by one, up to the first that does not fit; what is left of the draft is kept as a
    /// guess.
    pub(super) fn take_over(
        &self,
        hypothesis: &mut Hypothesis,
        draft: &[u32],
        states: &[f64],
        run: &mut Run<'_>,
    ) {
        let d_model = run.target.d_model();
        let begin = hypothesis.len();
        for (&id, state) in draft.iter().zip(states.chunks(d_model)) {
            let position = hypothesis.len();
            let yardstick = self.yardstick(run, position, 0.0);
            let wanted = run.target.state(position);
            let measured = yardstick.measure(state, wanted);
            run.tested.push(id, state, measured.distance, measured.fits);
            run.cost.stage("draft").candidates += 1;
            if !measured.fits {
                break;
            }
            let tested = std::mem::replace(&mut run.tested, Tested::new());
            hypothesis.push(Position {
                position,
                verdict: Verdict::Verified,
                token_id: id,
                distance: measured.distance,
                runner_up: other(&tested, id),
                margin: other(&tested, id).map(|other| other.distance - measured.distance),
                noise_floor: yardstick.floor(wanted),
                candidates_tested: tested.len(),
                found_by: "draft",
                ruled_out: Vec::new(),
            });
        }
        let settled = hypothesis.len() - begin;
        run.last = (settled < draft.len()).then(|| Draft {
            begin: hypothesis.len(),
            ids: draft[settled..].to_vec(),
            states: states[settled * d_model..].to_vec(),
        });
    }
}

/// The nearest candidate other than the one taken.
pub(super) fn other(tested: &Tested, id: u32) -> Option<crate::Ranked> {
    tested.ranking().kept().iter().copied().find(|ranked| ranked.id != id)
}
