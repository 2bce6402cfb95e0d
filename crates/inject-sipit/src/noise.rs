//! How far apart two computations of the same state lie.

use std::time::Instant;

use burn::tensor::DType;
use inject_collisions::{Decoder, Logits, Tap, TokenBatch, distance, norm};

use crate::{InvertError, StageCost, read};

/// The noise of a decoder at one tap.
///
/// A state depends, in its last digits, on the shape of the batch it was computed in. The states to invert were computed in
/// some shape, the candidates are computed in another; the distance between the two is noise, and a candidate within it
/// cannot be told from the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseModel {
    relative: f64,
}

/// What a measured noise is multiplied by. The measurement is a maximum over a few states; another program sums in another
/// order altogether. On the models measured true margins are at least 60 (at an attention sink) and up to some 250,000 times the bound
/// with this factor in it, so it costs nothing.
const SAFETY: f64 = 8.0;

impl NoiseModel {
    /// How many positions are measured.
    const POSITIONS: usize = 8;
    /// Candidates beside the measured one.
    const CANDIDATES: u32 = 63;

    /// Measures: a fixed sequence of tokens, computed by one forward pass and again token by token among other candidates.
    /// The sequence has `sequence_len` tokens, because LongRoPE chooses its frequencies by that.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the decoder cannot compute at that tap or length.
    pub fn measure(decoder: &Decoder, tap: Tap, sequence_len: usize) -> Result<Self, InvertError> {
        NoiseModel::measure_counting(decoder, tap, sequence_len, &mut StageCost::default())
    }

    /// The same, and counts what it computes.
    pub(crate) fn measure_counting(
        decoder: &Decoder,
        tap: Tap,
        sequence_len: usize,
        cost: &mut StageCost,
    ) -> Result<Self, InvertError> {
        let start = Instant::now();
        let (mut states_computed, mut batches) = (sequence_len, 1.0);
        let vocab_size = decoder.config().vocab_size as u32;
        let ids: Vec<u32> = spread(vocab_size).take(sequence_len.min(Self::POSITIONS)).collect();
        // The later positions change nothing before them.
        let whole: Vec<u32> = spread(vocab_size).take(sequence_len).collect();
        let whole = TokenBatch::new(&[whole])?;
        let d_model = decoder.config().d_model;
        let forward = decoder.forward(&whole, &[tap], Logits::None)?;
        let states = forward.states[&tap].clone().reshape([sequence_len, d_model]).narrow(0, 0, ids.len());
        let together = read(states)?;

        let mut cache = decoder.prefix_cache(1, sequence_len, tap)?;
        // Where both computations agree to the last bit, as at the embedding, one rounding of the state itself remains.
        let mut relative: f64 = if decoder.dtype() == DType::F64 { 2_f64.powi(-53) } else { 2_f64.powi(-24) };
        for (position, (&id, together)) in ids.iter().zip(together.chunks(d_model)).enumerate() {
            let others =
                spread(vocab_size).skip(position + 1).take(Self::CANDIDATES.min(vocab_size) as usize);
            let candidates: Vec<u32> = std::iter::once(id).chain(others).collect();
            let states = decoder.candidates(&cache, &candidates, tap)?;
            let beside = read(states.narrow(0, 0, 1))?;
            relative = relative.max(distance(&beside, together) / norm(together).max(f64::MIN_POSITIVE));
            decoder.extend(&mut cache, &TokenBatch::new(&[[id]])?, &[], Logits::None)?;
            states_computed += candidates.len() + 1;
            batches += 2.0;
        }
        cost.add_states(states_computed, batches, start.elapsed().as_secs_f64());
        Ok(NoiseModel { relative })
    }

    /// The largest distance measured between two computations, as a share of the state's norm.
    pub fn relative(&self) -> f64 {
        self.relative
    }

    /// A known relative noise.
    #[cfg(test)]
    pub(crate) fn exactly(relative: f64) -> Self {
        NoiseModel { relative }
    }

    /// An upper bound of the noise of computing a state, in L2: the safety factor times the larger of the model's noise and
    /// the noise `seen` at this very state.
    pub fn bound(&self, state_norm: f64, seen: f64) -> f64 {
        SAFETY * seen.max(self.relative * state_norm)
    }
}

/// Ids spread over a vocabulary, the same every time: steps of the golden ratio. An id may come again.
pub(crate) fn spread(vocab_size: u32) -> impl Iterator<Item = u32> {
    let fraction = |i: u32| f64::from(i + 1) * 0.618_033_988_749_894_9 % 1.0;
    (0..u32::MAX).map(move |i| (fraction(i) * f64::from(vocab_size)) as u32)
}
