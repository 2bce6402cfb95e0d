//! The exhaustive policy: every token of the vocabulary at every position.

use std::ops::Range;

use inject_collisions::{Decoder, Logits, PrefixCache, Ranking, TokenBatch, distance, norm};

use crate::{Inversion, InvertError, NoiseModel, Position, TargetStates, Verdict, read};

/// Tests the whole vocabulary at each position, in batches that share the cached prefix, and stops computing at the tap.
///
/// It needs no gradient, no calibration and no luck: `positions * vocab_size` candidates, and the exact runner-up and
/// margin with each token.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_sipit::{Exhaustive, Extraction, Model, Origin, Precision, Tap, TargetStates, foreign::SourceDtype};
/// use inject_sipit::store::Positions;
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/mistral");
/// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
/// let prompt = vec![31, 41, 59];
/// let extraction = Extraction::new(vec![Tap::Block(2)], Positions::All)?;
/// let states = extraction.run(&model.decoder, &[prompt.clone()], &mut |_| ())?.remove(&Tap::Block(2)).unwrap();
///
/// let target = TargetStates::new(states.mapv(f64::from), Tap::Block(2), SourceDtype::F32)?;
/// let inversion = Exhaustive::default().invert(&model.decoder, &target, &mut |_| ())?;
/// assert_eq!(inversion.token_ids(), prompt);
/// assert!(inversion.is_verified());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhaustive {
    /// Candidates computed at once. More keeps a device busier and takes more memory.
    pub batch: usize,
}

impl Default for Exhaustive {
    /// 512 candidates at once: from there on a CPU is no faster.
    fn default() -> Self {
        Exhaustive { batch: 512 }
    }
}

/// How many of the nearest candidates an ambiguous position lists at most.
const LISTED: usize = 16;

/// How far an inversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The position being scanned.
    pub position: usize,
    /// Positions in all.
    pub positions: usize,
    /// Candidates tested at this position.
    pub candidates_tested: usize,
    /// Candidates to test at each position.
    pub vocab_size: usize,
}

impl Exhaustive {
    /// Recovers the prompt. `progress` is called after every batch of candidates.
    ///
    /// A position at which no candidate fits keeps the nearest one, says so, and the scan goes on: the result always has as
    /// many positions as there were states.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the states cannot belong to this model: another width, a tap it does not have, more positions
    /// than it can compute.
    pub fn invert(
        &self,
        decoder: &Decoder,
        target: &TargetStates,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Inversion, InvertError> {
        target.check(decoder.config().d_model, decoder.config().n_layers())?;
        let tap = target.tap();
        let mut cache = decoder.prefix_cache(1, target.positions(), tap)?;
        let noise = NoiseModel::measure(decoder, tap, target.positions())?;
        let mut positions = Vec::with_capacity(target.positions());
        for position in 0..target.positions() {
            let state = target.state(position);
            let (ranking, nearest_state) =
                self.scan(decoder, &cache, target, &state, &mut |candidates_tested| {
                    progress(Progress {
                        position,
                        positions: target.positions(),
                        candidates_tested,
                        vocab_size: decoder.config().vocab_size,
                    });
                })?;
            let nearest = ranking.nearest().ok_or(InvertError::NoStates)?;
            // The same token once more, in the other shape: how far its state moves is noise, whatever the states given.
            let forward =
                decoder.extend(&mut cache, &TokenBatch::new(&[[nearest.id]])?, &[tap], Logits::None)?;
            let seen = distance(&read(forward.states[&tap].clone())?, &nearest_state);
            let noise_floor = noise.floor(norm(&state), seen, target.rounding(position));
            positions.push(settled(position, &ranking, noise_floor)?);
        }
        Ok(Inversion { positions })
    }

    /// Ranks every token of the vocabulary by the distance of its state, and gives the nearest state itself.
    fn scan(
        &self,
        decoder: &Decoder,
        cache: &PrefixCache,
        target: &TargetStates,
        state: &[f64],
        tested: &mut dyn FnMut(usize),
    ) -> Result<(Ranking, Vec<f64>), InvertError> {
        let vocab_size = decoder.config().vocab_size as u32;
        let batch = self.batch.max(1) as u32;
        let mut ranking = Ranking::keeping(LISTED);
        let mut nearest_state = Vec::new();
        for begin in (0..vocab_size).step_by(batch as usize) {
            let ids: Range<u32> = begin..vocab_size.min(begin + batch);
            let candidates: Vec<u32> = ids.clone().collect();
            let states = read(decoder.candidates(cache, &candidates, target.tap())?)?;
            for (id, candidate) in ids.zip(states.chunks(target.d_model())) {
                ranking.push(id, distance(candidate, state));
                if ranking.nearest().is_some_and(|nearest| nearest.id == id) {
                    nearest_state = candidate.to_vec();
                }
            }
            tested(ranking.tested());
        }
        Ok((ranking, nearest_state))
    }
}

fn settled(position: usize, ranking: &Ranking, noise_floor: f64) -> Result<Position, InvertError> {
    let nearest = ranking.nearest().ok_or(InvertError::NoStates)?;
    let within = ranking.within(noise_floor);
    let verdict = match within.len() {
        0 => Verdict::Failed,
        1 => Verdict::Verified,
        _ => Verdict::Ambiguous { candidates: within.to_vec() },
    };
    Ok(Position {
        position,
        verdict,
        token_id: nearest.id,
        distance: nearest.distance,
        runner_up: ranking.runner_up(),
        margin: ranking.margin(),
        noise_floor,
        candidates_tested: ranking.tested(),
    })
}
