//! A closer look at a candidate that comes near without fitting: how much its own computation is off.

use std::time::Instant;

use inject_collisions::{Logits, TokenBatch, distance};

use super::{
    Inverter, Run,
    step::{Trial, candidate_states},
};
use crate::{InvertError, read};

/// How near, in units of the floor, a candidate must come to have its own noise measured.
const NEAR: f64 = 256.0;

impl Inverter<'_> {
    /// Where nothing fits but something comes near: computes that candidate in two other shapes, alone behind the cache and in
    /// one pass over a whole prompt, as the states given probably were. The larger distance between two computations
    /// is noise, whatever the states given.
    pub(super) fn examine(&self, trial: &mut Trial, run: &mut Run<'_>) -> Result<(), InvertError> {
        let at = trial.hypothesis.len();
        let wanted = run.target.state(at);
        let Some((nearest, beside)) = trial.tested.nearest() else { return Ok(()) };
        let near = nearest.distance <= NEAR * trial.yardstick.floor(wanted);
        if !trial.tested.fitting().is_empty() || !near || trial.examined == Some(nearest.id) {
            return Ok(());
        }
        trial.examined = Some(nearest.id);
        let cache = trial.hypothesis.cache(self.decoder, run.target, &mut run.cost)?;
        let start = Instant::now();
        let alone = candidate_states(self.decoder, cache, &[nearest.id], self.tap)?;
        let positions = run.target.positions();
        let together = self.in_one_pass(&trial.hypothesis.ids(), nearest.id, positions)?;
        run.cost.stage("noise").add_states(1 + positions, 2.0, start.elapsed().as_secs_f64());
        // What was seen of one candidate is noise of this position: the floor never becomes narrower again.
        trial.seen = distance(&alone, beside).max(distance(&together, beside)).max(trial.seen);
        trial.yardstick = self.yardstick(run, at, trial.seen);
        trial.tested.remeasure(&trial.yardstick, wanted);
        Ok(())
    }

    /// The state of a token behind a prefix, from one pass over a prompt of `positions` tokens: what follows changes nothing but the
    /// shape of the computation (and LongRoPE's frequencies), which is to be that of the states given.
    fn in_one_pass(&self, prefix: &[u32], token: u32, positions: usize) -> Result<Vec<f64>, InvertError> {
        let mut ids = [prefix, &[token]].concat();
        ids.resize(positions, token);
        let forward = self.decoder.forward(&TokenBatch::new(&[ids])?, &[self.tap], Logits::None)?;
        read(forward.states[&self.tap].clone().narrow(1, prefix.len(), 1))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Tensor;
    use inject_collisions::{
        Extraction, Matrix, Model, Origin, Precision, Tap, foreign::SourceDtype, norm, store::Positions,
    };

    use super::*;
    use crate::{NoiseModel, Policy, Settings, TargetStates, Verdict};

    #[test]
    fn twins_within_a_floor_that_was_widened_are_both_named() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2");
        let prompt = vec![3, 11, 5, 12, 11, 7];
        let tap = Tap::Block(2);
        for device in inject_testing::compiled() {
            let model = Model::load(Origin::of_folder(&fixture), Precision::F32, &device).unwrap();
            // Token 12 has the embedding of token 11.
            let decoder = model.decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let [rows, _] = values.dims();
                    let below = values.clone().narrow(0, 0, 12);
                    let above = values.clone().narrow(0, 13, rows - 13);
                    Tensor::cat(vec![below, values.narrow(0, 11, 1), above], 0)
                }
                _ => values,
            });
            let extraction = Extraction::new(vec![tap], Positions::All).unwrap();
            let states = extraction.run(&decoder, std::slice::from_ref(&prompt), &mut |_| ()).unwrap();
            let target = TargetStates::new(states[&tap].mapv(f64::from), tap, SourceDtype::F64).unwrap();
            let mut inverter = Inverter::new(&decoder, tap, Settings::default()).unwrap();
            // So little that hardly any state lies within it, and all right ones come near.
            let little = inverter.noise.relative() / 1000.0;
            inverter.noise = NoiseModel::exactly(little);
            let inversion = inverter.invert(&target, &mut Policy::new(), &mut |_| ()).unwrap();
            let mut widened = 0;
            for (position, token) in inversion.positions.iter().zip(&prompt) {
                let named: Vec<u32> = match &position.verdict {
                    Verdict::Ambiguous { candidates, .. } => {
                        candidates.iter().map(|ranked| ranked.id).collect()
                    }
                    verdict => {
                        assert_eq!(*verdict, Verdict::Verified, "{position:?}");
                        vec![position.token_id]
                    }
                };
                let twins = [11, 12].contains(token);
                assert_eq!(named, if twins { vec![11, 12] } else { vec![*token] }, "{position:?}");
                let own = 9.0 * little * norm(target.state(position.position));
                widened += usize::from(twins && position.noise_floor > own);
            }
            assert!(widened > 0, "{inversion:?}");
            // A look at a candidate takes its state alone, and a pass over the prompt.
            let looks = inversion.cost.stages()["noise"];
            assert!(looks.batches >= 2.0 * widened as f64, "{inversion:?}");
            assert_eq!(2 * looks.states, looks.batches as usize * (1 + prompt.len()));
        }
    }
}
