//! The model's expectation of tokens between which the states do not decide.

use std::time::Instant;

use burn::tensor::Tensor;

use crate::{
    collisions::{Ranked, norm},
    error::InvertError,
    hypothesis::{Hypothesis, Settled},
    inversion::Verdict,
    models::{Logits, Tap, TokenBatch},
    tensors::widened,
    vocabulary::Vocabulary,
};

use super::recovery::Recovery;

/// The states after the final norm along a prompt, which determine what the model expects.
struct Expectation<'v> {
    vocabulary: &'v Vocabulary<'v>,
    states: Tensor<3>,
}

impl Expectation<'_> {
    /// The logarithm of every token's probability at a position after the first.
    fn at(&self, position: usize) -> Result<Vec<f64>, InvertError> {
        let state = self.states.clone().narrow(1, position - 1, 1).squeeze_dim(0); // [1, d_model]
        let logits = widened(self.vocabulary.logits(state)?);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        Ok(logits.into_iter().map(|logit| logit - largest - sum.ln()).collect())
    }
}

impl<'r> Recovery<'r, '_> {
    /// Puts the hypothesis first that the model expects most, among those whose states the noise of computing does not distinguish from
    /// those of the first. No verdict changes: where hypotheses differ, the position stays ambiguous.
    pub(super) fn prefer_expected(&mut self) -> Result<(), InvertError> {
        let Some(first) = self.beam.first() else { return Ok(()) };
        let equal = |hypothesis: &Hypothesis| self.are_equally_near(first, hypothesis);
        let equal: Vec<usize> = (0..self.beam.len()).filter(|&place| equal(&self.beam[place])).collect();
        if equal.len() < 2 || !self.has_expectation() {
            return Ok(());
        }
        let mut best: Option<(f64, usize)> = None;
        for place in equal {
            let ids = self.beam[place].ids();
            let expectation = self.expectation(&ids)?;
            let mut expected = 0.0;
            for (position, &id) in ids.iter().enumerate().skip(self.first_expected()) {
                expected += expectation.at(position)?[id as usize];
            }
            if best.is_none_or(|(other, _)| expected > other) {
                best = Some((expected, place));
            }
        }
        if let Some((_, place)) = best {
            let favoured = self.beam.remove(place);
            self.beam.insert(0, favoured);
        }
        Ok(())
    }

    /// Orders the tokens of ambiguous positions that are as near as the nearest: those that the model expects come first.
    pub(super) fn order_alternatives(&mut self, positions: &mut [Settled]) -> Result<(), InvertError> {
        let equal: Vec<usize> =
            positions.iter().enumerate().map(|(at, settled)| self.equally_near(at, settled)).collect();
        if equal.iter().skip(self.first_expected()).all(|&count| count < 2) || !self.has_expectation() {
            return Ok(());
        }
        let ids: Vec<u32> = positions.iter().map(Settled::token_id).collect();
        let expectation = self.expectation(&ids)?;
        for (at, settled) in positions.iter_mut().enumerate().skip(self.first_expected()) {
            if let Settled::Found(found) = settled
                && let Verdict::Ambiguous { candidates, .. } = &mut found.verdict
                && equal[at] > 1
            {
                let expected = expectation.at(at)?;
                let expected = |candidate: &Ranked| expected[candidate.id as usize];
                candidates[..equal[at]].sort_by(|a, b| expected(b).total_cmp(&expected(a)));
            }
        }
        Ok(())
    }

    /// Whether the noise of computing exceeds the differences of the distances at all positions.
    fn are_equally_near(&self, one: &Hypothesis, other: &Hypothesis) -> bool {
        one.found().zip(other.found()).all(|((at, one), (_, other))| {
            (one.kept.distance - other.kept.distance).abs() <= self.noise_of_computing(at)
        })
    }

    /// The number of candidates at the beginning of a list, nearest first, that are as near as the nearest up to the noise of computing.
    fn equally_near(&self, at: usize, settled: &Settled) -> usize {
        let Some(Verdict::Ambiguous { candidates, .. }) = settled.found().map(|found| &found.verdict) else {
            return 0;
        };
        let Some(nearest) = candidates.first() else { return 0 };
        let most = nearest.distance + self.noise_of_computing(at);
        candidates.iter().take_while(|candidate| candidate.distance <= most).count()
    }

    fn noise_of_computing(&self, at: usize) -> f64 {
        self.comparison.inverter.noise.bound(norm(self.comparison.target.state(at)), 0.0)
    }

    /// The model expects nothing without a head. Two tokens for one state are judged in another way.
    fn has_expectation(&self) -> bool {
        let inverter = self.comparison.inverter;
        inverter.decoder.has_head() && inverter.next.is_none() && !self.comparison.watch.is_up()
    }

    /// The first position at which a token is expected. There is nothing before the first of a prompt.
    fn first_expected(&self) -> usize {
        self.comparison.target.given().len().max(1)
    }

    fn expectation(&mut self, ids: &[u32]) -> Result<Expectation<'r>, InvertError> {
        let (inverter, start) = (self.comparison.inverter, Instant::now());
        let forward = inverter.decoder.forward(&TokenBatch::new(&[ids])?, &[Tap::FinalNorm], Logits::None)?;
        let states = forward.states[&Tap::FinalNorm].clone();
        let stage = self.comparison.cost.stage("expectation");
        stage.add_states(ids.len(), 1.0, start.elapsed().as_secs_f64());
        Ok(Expectation { vocabulary: &inverter.vocabulary, states })
    }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::{model, with_equal_embeddings};

    use super::*;
    use crate::{
        Inverter, models::silent, policy::Policy, settings::Settings, target::TargetStates, tensors::read,
    };

    #[test]
    fn of_tokens_with_one_state_the_expected_one_is_kept_and_the_position_stays_ambiguous() {
        for device in inject_testing::compiled() {
            // The two have different rows of the head.
            let decoder = with_equal_embeddings(model("mistral", &device).decoder);
            let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
            let mut kept = Vec::new();
            for at in 1..6 {
                for truth in [11, 12] {
                    let mut prompt = [3, 5, 7, 9, 20, 30, 41];
                    prompt[at] = truth;
                    let target = TargetStates::of_prompt(&decoder, Tap::Block(2), &prompt).unwrap();
                    let scan = Policy::new();
                    let inversion =
                        inverter.invert(&target, &mut inverter.searcher(&scan), &mut silent).unwrap();
                    let tokens = TokenBatch::new(&[&prompt[..at]]).unwrap();
                    let logits = decoder.forward(&tokens, &[], Logits::Last).unwrap().logits.unwrap();
                    let logits = read(logits).unwrap();
                    let order = if logits[11] > logits[12] { [11, 12] } else { [12, 11] };
                    let position = &inversion.positions[at];
                    let Verdict::Ambiguous { candidates, .. } = &position.verdict else {
                        panic!("{position:?}")
                    };
                    let listed: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
                    assert_eq!(listed, order, "{position:?}");
                    assert_eq!(position.token_id(), Some(order[0]), "{position:?}");
                    kept.push(order[0]);
                }
            }
            assert!(kept.contains(&11) && kept.contains(&12), "{kept:?}");
        }
    }
}
