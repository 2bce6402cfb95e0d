//! A closer look at a candidate that comes near without fitting: the noise of its own computation.

use std::time::Instant;

use crate::{
    collisions::distance,
    error::InvertError,
    models::{Logits, TokenBatch},
    tuning::EXAMINED_WITHIN,
};
use burn::tensor::Tensor;

use super::{Inverter, branch::Branch, comparison::Comparison};

impl Branch {
    /// If nothing fits but something comes near, computes that candidate in two other shapes: alone after the cache, and in
    /// one pass over a whole prompt, as the given states probably were. The larger distance between two computations is noise,
    /// whatever the given states.
    pub(super) fn examine(&mut self, comparison: &mut Comparison<'_>) -> Result<(), InvertError> {
        if comparison.producer.is_some() || comparison.inverter.next.is_some() {
            return Ok(());
        }
        let at = self.trial.at;
        let (inverter, target) = (comparison.inverter, comparison.target);
        let Some((nearest, beside)) = self.trial.tested.nearest() else { return Ok(()) };
        let near = nearest.distance <= EXAMINED_WITHIN * self.trial.floor(comparison);
        if !self.trial.tested.fitting().is_empty() || !near || self.examined == Some(nearest.id) {
            return Ok(());
        }
        self.examined = Some(nearest.id);
        let cache = self.hypothesis.cache(inverter.decoder, target, &mut comparison.cost)?;
        let start = Instant::now();
        let alone = comparison.states(inverter.decoder.candidates(cache, &[nearest.id], inverter.tap)?)?;
        let positions = target.sequence_len();
        let together =
            comparison.states(inverter.in_one_pass(&self.hypothesis.ids(), nearest.id, positions)?)?;
        comparison.cost.stage("noise").add_states(1 + positions, 2.0, start.elapsed().as_secs_f64());
        // The noise seen of one candidate is noise of this position, so the floor never becomes narrower again.
        let seen = distance(&alone, beside).max(distance(&together, beside));
        self.seen = Some(self.seen.map_or(seen, |before| before.max(seen)));
        self.trial.yardstick = comparison.yardstick(at, self.seen);
        self.trial.tested.remeasure(&self.trial.yardstick, target.state(at));
        Ok(())
    }
}

impl Inverter<'_> {
    /// The state of a token after a prefix, from one pass over a prompt of `positions` tokens. The tokens after it change nothing
    /// but the shape of the computation (and LongRoPE's frequencies), which has to be that of the given states.
    fn in_one_pass(&self, prefix: &[u32], token: u32, positions: usize) -> Result<Tensor<3>, InvertError> {
        let mut ids = [prefix, &[token]].concat();
        ids.resize(positions, token);
        let forward = self.decoder.forward(&TokenBatch::new(&[ids])?, &[self.tap], Logits::None)?;
        Ok(forward.states[&self.tap].clone().narrow(1, prefix.len(), 1))
    }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::{model, with_equal_embeddings};

    use super::*;
    use crate::{
        collisions::norm,
        inversion::Verdict,
        models::{FloatFormat, Tap, silent},
        noise::NoiseModel,
        policy::Policy,
        settings::Settings,
        target::TargetStates,
    };

    #[test]
    fn another_program_may_have_more_noise_at_one_position() {
        let (prompt, tap) = ([3, 11, 5, 12, 11, 7], Tap::Block(2));
        let decoder = model("gpt2", &inject_testing::any_device()).decoder;
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        let computed = TargetStates::of_prompt(&decoder, tap, &prompt).unwrap();
        let verdict = |factor: f64| {
            let mut states = computed.states().to_owned();
            let moved = factor * inverter.noise.relative() * norm(computed.state(3));
            states[[3, 0]] += moved;
            let target = TargetStates::new(states, tap, FloatFormat::F64).unwrap();
            let inversion =
                inverter.invert(&target, &mut inverter.searcher(&Policy::new()), &mut silent).unwrap();
            (inversion.positions[3].verdict.clone(), inversion.positions[3].token_id())
        };
        assert_eq!(verdict(20.0), (Verdict::Verified, Some(12)));
        assert_eq!(verdict(60.0).0, Verdict::Failed);
    }

    #[test]
    fn twins_within_a_floor_that_was_widened_are_both_named() {
        let prompt = [3, 11, 5, 12, 11, 7];
        let tap = Tap::Block(2);
        for device in inject_testing::compiled() {
            let decoder = with_equal_embeddings(model("gpt2", &device).decoder);
            let computed = TargetStates::of_prompt(&decoder, tap, &prompt).unwrap();
            let target = TargetStates::new(computed.states().to_owned(), tap, FloatFormat::F64).unwrap();
            let mut inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
            // So little that hardly any state lies within it, and all right ones come near.
            let little = inverter.noise.relative() / 1000.0;
            inverter.noise = NoiseModel::exactly(little);
            let scan = Policy::new();
            let inversion = inverter.invert(&target, &mut inverter.searcher(&scan), &mut silent).unwrap();
            let mut widened = 0;
            for (position, token) in inversion.positions.iter().zip(&prompt) {
                let named: Vec<u32> = match &position.verdict {
                    Verdict::Ambiguous { candidates, .. } => {
                        candidates.iter().map(|ranked| ranked.id).collect()
                    }
                    verdict => {
                        assert_eq!(*verdict, Verdict::Verified, "{position:?}");
                        vec![position.token_id().unwrap()]
                    }
                };
                let twins = [11, 12].contains(token);
                assert_eq!(named, if twins { vec![11, 12] } else { vec![*token] }, "{position:?}");
                let own = 9.0 * little * norm(target.state(position.position));
                widened += usize::from(twins && position.noise_floor() > Some(own));
            }
            assert!(widened > 0, "{inversion:?}");
            // A look at a candidate takes its state alone, and a pass over the prompt.
            let looks = inversion.cost.stages()["noise"];
            assert!(looks.batches >= 2.0 * widened as f64, "{inversion:?}");
            assert_eq!(2 * looks.states, looks.batches as usize * (1 + prompt.len()));
        }
    }
}
