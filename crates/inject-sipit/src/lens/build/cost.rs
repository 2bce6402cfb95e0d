//! The cost of making lenses, known before anything is computed.

use super::{
    FirstPosition, LensBuilder,
    samples::{self, distinct, fitted_on_and_held_out},
};
use crate::{
    models::{Decoder, Tap},
    tuning::{LENS_FIRST_RANK, LENS_MOST_RANK},
};

/// The cost of [`LensBuilder::build`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LensCost {
    /// The number of token states computed after a prefix. After each prefix these are the distinct tokens of the text, and then
    /// the whole vocabulary.
    pub candidates: u64,
    /// The number of tokens of text.
    pub text: u64,
    /// Floating-point operations of the matrix products, two for each weight.
    pub flop: f64,
    /// The memory in bytes at the end of the passes, in addition to the model.
    pub bytes: u64,
}

impl LensBuilder {
    /// Returns the cost of [`LensBuilder::build`].
    pub fn cost(&self, decoder: &Decoder) -> LensCost {
        let config = decoder.config();
        let passes = self.prefixes.len() + usize::from(self.first == FirstPosition::Any);
        let samples = samples::of_text(&self.text);
        let distinct = distinct(fitted_on_and_held_out(&samples).0).len();
        let candidates = (passes * (config.vocab_size + distinct)) as u64;
        let text = self.text.iter().map(Vec::len).sum::<usize>() as u64;
        let deepest = self.taps.iter().copied().max().unwrap_or(Tap::Embedding);
        let flop = candidates as f64 * config.flops_per_token(deepest)
            + text as f64 * config.flops_per_token(Tap::FinalNorm);
        let rank = LENS_MOST_RANK.min(config.d_model)
            + LENS_FIRST_RANK.min(config.d_model) * (passes - self.prefixes.len());
        let taps = self.taps.len() as u64;
        let bytes =
            4 * (taps + 1) * text * config.d_model as u64 + 4 * taps * (config.vocab_size * rank) as u64;
        LensCost { candidates, text, flop, bytes }
    }
}
