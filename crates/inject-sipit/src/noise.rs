//! The distance between two computations of the same state.

use std::time::Instant;

use crate::{
    collisions::{distance, norm},
    cost::StageCost,
    error::InvertError,
    median::median,
    models::{Decoder, Logits, Progress, Tap, TokenBatch, Unit, silent},
    tensors::read,
    transformation::Transformation,
    tuning::{NOISE_CANDIDATES, NOISE_POSITIONS, NOISE_SAFETY, NOISE_SAFETY_EXAMINED, SINK_NORM},
};
use burn::tensor::DType;

/// The noise of a decoder at one tap.
///
/// The last digits of a state depend on the shape of the batch it was computed in. The states to invert were computed in one
/// shape and the candidates are computed in another. The distance between the two is noise, and a candidate within it cannot be
/// distinguished from the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseModel {
    relative: f64,
    /// The median norm of the states after the first. Infinite if there is none.
    later_norm: f64,
}

impl NoiseModel {
    /// Measures the noise on a fixed sequence of tokens, computed by one forward pass and again token by token among other
    /// candidates. The sequence has `sequence_len` tokens, because LongRoPE chooses its frequencies by that.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the decoder cannot compute at that tap or length.
    pub fn measure(decoder: &Decoder, tap: Tap, sequence_len: usize) -> Result<Self, InvertError> {
        NoiseModel::measure_counting(
            decoder,
            tap,
            sequence_len,
            &Transformation::None,
            &mut StageCost::default(),
            &mut silent,
        )
    }

    /// Measures the noise of states after a change, and counts the cost. Reports after every position.
    pub(crate) fn measure_counting(
        decoder: &Decoder,
        tap: Tap,
        sequence_len: usize,
        transformation: &Transformation,
        cost: &mut StageCost,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, InvertError> {
        let start = Instant::now();
        let (mut states_computed, mut batches) = (sequence_len, 1.0);
        let vocab_size = decoder.config().vocab_size as u32;
        let ids: Vec<u32> = spread(vocab_size).take(sequence_len.min(NOISE_POSITIONS)).collect();
        // Later positions do not change earlier ones.
        let whole: Vec<u32> = spread(vocab_size).take(sequence_len).collect();
        let whole = TokenBatch::new(&[whole])?;
        let d_model = decoder.config().d_model;
        let forward = decoder.forward(&whole, &[tap], Logits::None)?;
        let states = forward.states[&tap].clone().reshape([sequence_len, d_model]).narrow(0, 0, ids.len());
        let together = read(states)?;
        let together = transformation.changed(&together, d_model);

        let mut cache = decoder.prefix_cache(1, sequence_len, tap)?;
        // If both computations agree to the last bit, as at the embedding, one rounding of the state itself remains.
        let mut norms: Vec<f64> = together.chunks(d_model).skip(1).map(norm).collect();
        let later_norm = if norms.is_empty() { f64::INFINITY } else { median(&mut norms) };
        let mut relative: f64 = if decoder.dtype() == DType::F64 { 2_f64.powi(-53) } else { 2_f64.powi(-24) };
        for (position, (&id, together)) in ids.iter().zip(together.chunks(d_model)).enumerate() {
            let others =
                spread(vocab_size).skip(position + 1).take(NOISE_CANDIDATES.min(vocab_size) as usize);
            let candidates: Vec<u32> = std::iter::once(id).chain(others).collect();
            let states = decoder.candidates(&cache, &candidates, tap)?;
            let beside = read(states.narrow(0, 0, 1))?;
            let beside = transformation.changed(&beside, d_model);
            relative = relative.max(distance(&beside, together) / norm(together).max(f64::MIN_POSITIVE));
            decoder.extend(&mut cache, &TokenBatch::new(&[[id]])?, &[], Logits::None)?;
            progress(Progress::new("measure noise", Unit::Positions, position as u64 + 1, ids.len() as u64));
            states_computed += candidates.len() + 1;
            batches += 2.0;
        }
        cost.add_states(states_computed, batches, start.elapsed().as_secs_f64());
        Ok(NoiseModel { relative, later_norm })
    }

    /// Returns the largest distance measured between two computations, as a share of the state's norm.
    pub fn relative(&self) -> f64 {
        self.relative
    }

    /// Creates a model of a known noise, relative to the norm of a state.
    #[cfg(test)]
    pub(crate) fn exactly(relative: f64) -> Self {
        NoiseModel { relative, later_norm: f64::INFINITY }
    }

    /// Whether a state may be an attention sink: it is the first of all, or much longer than others.
    pub(crate) fn may_be_sink(&self, position: usize, state_norm: f64) -> bool {
        position == 0 || state_norm > SINK_NORM * self.later_norm
    }

    /// Returns an upper bound of the noise of computing a state, in L2: the safety factor times the larger of the model's noise
    /// and the noise `seen` at this very state.
    pub fn bound(&self, state_norm: f64, seen: f64) -> f64 {
        NOISE_SAFETY * seen.max(self.relative * state_norm)
    }

    /// The same for a candidate that came near without fitting. Such a state is one of few, and the noise of another program may exceed
    /// ours by more there.
    pub(crate) fn bound_examined(&self, state_norm: f64, seen: f64) -> f64 {
        NOISE_SAFETY_EXAMINED * seen.max(self.relative * state_norm)
    }
}

/// Ids spread over a vocabulary in steps of the golden ratio, the same every time. An id may occur twice.
pub(crate) fn spread(vocab_size: u32) -> impl Iterator<Item = u32> {
    let fraction = |i: u32| f64::from(i + 1) * 0.618_033_988_749_894_9 % 1.0;
    (0..u32::MAX).map(move |i| (fraction(i) * f64::from(vocab_size)) as u32)
}
