//! Lenses for many taps in one pass over the vocabulary.

mod codebooks;
mod select;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use inject_collisions::{
    Arithmetic,
    models::{Decoder, ModelError, Tap},
    states::{Extraction, store::Positions},
};
use ndarray::Array2;

use self::codebooks::Codebooks;
use super::{
    Lens, LensError,
    fit::{Fitted, Samples, fit, gather, projected, refine_points},
};
use crate::{InvertError, Vocabulary};

/// What a lens assumes of the first position of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPosition {
    /// Every prompt begins with this token. (One that does not is still recovered, its first position by the other sources or
    /// the scan.)
    Bos(u32),
    /// Any token may stand there: its states are tabulated too, one more pass over the vocabulary.
    Any,
}

/// Makes lenses for one model.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_sipit::{FirstPosition, LensBuilder, Model, Origin, Precision, Tap};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2");
/// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
/// let text = (0..200).map(|i| (0..16).map(|j| (i * i * 31 + j * j * 7 + i * j) % 97).collect()).collect();
/// let builder = LensBuilder {
///     taps: vec![Tap::Block(1)],
///     prefixes: vec![vec![5, 6, 7], vec![80, 3]],
///     text,
///     first: FirstPosition::Any,
/// };
/// // The vocabulary behind each prefix and at the first position, and the text's own tokens twice.
/// assert!((3 * 97..=6 * 97).contains(&builder.cost(&model.decoder).candidates));
/// let lenses = builder.build(&model.decoder, &model.weight_hash()?, &mut |_| ())?;
/// // A model of random weights, and text without sense: one in a hundred would be right by chance.
/// assert!(lenses[0].about().held_out_top_1 > 0.3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LensBuilder {
    /// The taps wanted. All of them come from the same passes.
    pub taps: Vec<Tap>,
    /// Beginnings of ordinary prompts as token ids, behind each of which every token's state is computed. They should be of different
    /// kinds, some ending inside a word: what counts is the mean over the places in which a token may stand. Four of up to 12 tokens, two
    /// ending inside a word, is what the `lens` program uses.
    pub prefixes: Vec<Vec<u32>>,
    /// Prompts as token ids, 600 to 2,000 of 64 tokens; at least 256 positions beyond first ones. The last tenth of the positions is held
    /// out to choose the lens's size, so put ordinary text last and, before it, some prompts of random tokens: without them a lens is worse
    /// on random prompts in deep layers.
    pub text: Vec<Vec<u32>>,
    /// What prompts begin with.
    pub first: FirstPosition,
}

/// What making lenses costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LensCost {
    /// Tokens computed behind a prefix: the vocabulary, and before it those that the text has, behind each.
    pub candidates: u64,
    /// Tokens of text.
    pub text: u64,
    /// Floating-point operations of the matrix products, two for each weight.
    pub flop: f64,
    /// Bytes held at the end of the passes, beside the model.
    pub bytes: u64,
}

/// How far the making of lenses is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LensProgress {
    /// Text whose states are computed.
    Text {
        /// Prompts done.
        done: usize,
        /// Prompts in all.
        of: usize,
    },
    /// Lenses fitted to the text.
    Fit {
        /// Taps done.
        done: usize,
        /// Taps in all.
        of: usize,
    },
    /// Tokens whose states are computed behind the prefixes: first those of the text, and after the fit all of them.
    Vocabulary {
        /// Tokens done, over all prefixes.
        done: usize,
        /// Tokens in all.
        of: usize,
    },
    /// Lenses measured on the held-out text.
    Measure {
        /// Taps done.
        done: usize,
        /// Taps in all.
        of: usize,
    },
}

/// Coordinates kept until the held-out text decides.
pub(super) const MOST_RANK: usize = 256;

/// Coordinates of a table of first positions.
pub(super) const FIRST_RANK: usize = 64;

/// The fewest samples a lens is fitted to.
const FEWEST_SAMPLES: usize = 256;

/// One position of text with another before it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Row among all states of the text; the position before is the row before.
    row: usize,
    token: u32,
}

impl LensBuilder {
    /// What [`LensBuilder::build`] will cost.
    pub fn cost(&self, decoder: &Decoder) -> LensCost {
        let config = decoder.config();
        let passes = self.prefixes.len() + usize::from(self.first == FirstPosition::Any);
        let samples = self.samples();
        let distinct = distinct(fitted_on_and_held_out(&samples).0).len();
        let candidates = (passes * (config.vocab_size + distinct)) as u64;
        let text = self.text.iter().map(Vec::len).sum::<usize>() as u64;
        let deepest = self.taps.iter().copied().max().unwrap_or(Tap::Embedding);
        let flop = candidates as f64 * config.flops_per_token(deepest)
            + text as f64 * config.flops_per_token(Tap::FinalNorm);
        let rank =
            MOST_RANK.min(config.d_model) + FIRST_RANK.min(config.d_model) * (passes - self.prefixes.len());
        let taps = self.taps.len() as u64;
        let bytes =
            4 * (taps + 1) * text * config.d_model as u64 + 4 * taps * (config.vocab_size * rank) as u64;
        LensCost { candidates, text, flop, bytes }
    }

    /// Makes one lens for each distinct tap, sorted by depth, which need not be the order of `taps`. `weight_hash` is
    /// [`Model::weight_hash`](inject_collisions::models::Model::weight_hash); it is stored, and [`Lens::load`] compares it.
    ///
    /// # Errors
    ///
    /// [`InvertError`]: what the decoder refuses, too little text, no prefix, or states that do not determine a lens.
    pub fn build(
        &self,
        decoder: &Decoder,
        weight_hash: &str,
        progress: &mut dyn FnMut(LensProgress),
    ) -> Result<Vec<Lens>, InvertError> {
        let taps = self.checked_taps(decoder)?;
        if let FirstPosition::Bos(bos) = self.first {
            decoder.config().check_prompt(0, &[bos])?;
        }
        let samples = self.samples();
        if samples.len() < FEWEST_SAMPLES {
            return Err(LensError::TooLittleText { found: samples.len(), expected: FEWEST_SAMPLES }.into());
        }
        if self.prefixes.is_empty() || self.prefixes.iter().any(Vec::is_empty) {
            return Err(LensError::NoPrefix.into());
        }
        let (fitted_on, held_out) = fitted_on_and_held_out(&samples);

        // First what costs little: a prefix that the model cannot compute is refused before the text is.
        let mut codebooks = Codebooks::new(decoder, &taps, &self.prefixes, self.first)?;
        let text = self.text_states(decoder, &taps, progress)?;
        let distinct = distinct(fitted_on);
        codebooks.expect(&distinct);
        let classes = codebooks.mean_states(&distinct, progress)?;
        let final_states = &text[&Tap::FinalNorm];
        let device = decoder.device();
        let mut fitted: BTreeMap<Tap, Fitted> = BTreeMap::new();
        for (done, &tap) in taps.iter().enumerate() {
            let samples = gathered(&text[&tap], final_states, fitted_on, &distinct, &device);
            let rank = MOST_RANK.min(decoder.config().d_model);
            fitted.insert(tap, fit(tap, &samples, classes[&tap].clone(), rank)?);
            progress(LensProgress::Fit { done: done + 1, of: taps.len() });
        }
        drop(classes);
        let mut points = codebooks.points(&fitted, &distinct, progress)?;
        let ids: Vec<u32> = fitted_on.iter().map(|sample| sample.token).collect();
        for (tap, points) in &mut points {
            let seen = places(&fitted[tap], &text[tap], fitted_on, &device)?;
            refine_points(points, fitted[tap].offset.dims()[1], &ids, &seen);
        }
        let vocabulary = Vocabulary::new(decoder, Arithmetic::I16OnProcessor);
        let mut lenses = Vec::with_capacity(taps.len());
        for (done, &tap) in taps.iter().enumerate() {
            let trial = select::Trial {
                vocabulary: &vocabulary,
                tap,
                states: &text[&tap],
                held_out,
                fitted_on: fitted_on.len(),
                prefixes: self.prefixes.len(),
                weight_hash,
            };
            lenses.push(trial.select(&fitted[&tap], &points[&tap], codebooks.first(tap)?)?);
            progress(LensProgress::Measure { done: done + 1, of: taps.len() });
        }
        Ok(lenses)
    }

    fn checked_taps(&self, decoder: &Decoder) -> Result<Vec<Tap>, InvertError> {
        let mut taps = self.taps.clone();
        taps.sort_unstable();
        taps.dedup();
        for tap in &taps {
            tap.checked(decoder.config().n_layers()).map_err(ModelError::from)?;
        }
        if taps.is_empty() { Err(LensError::NoTaps.into()) } else { Ok(taps) }
    }

    /// Every position of text with another before it.
    fn samples(&self) -> Vec<Sample> {
        let mut begin = 0;
        let mut samples = Vec::new();
        for prompt in &self.text {
            let of_prompt = prompt.iter().enumerate().skip(1);
            samples.extend(of_prompt.map(|(position, &token)| Sample { row: begin + position, token }));
            begin += prompt.len();
        }
        samples
    }

    fn text_states(
        &self,
        decoder: &Decoder,
        taps: &[Tap],
        progress: &mut dyn FnMut(LensProgress),
    ) -> Result<BTreeMap<Tap, Array2<f32>>, InvertError> {
        let wanted = taps.iter().copied().chain([Tap::FinalNorm]).collect();
        let extraction = Extraction::new(wanted, Positions::All)?;
        let states = extraction.run(decoder, &self.text, &mut |step| {
            progress(LensProgress::Text { done: step.done as usize, of: step.total as usize });
        })?;
        Ok(states.into_iter().map(|(tap, states)| (tap, states.into_array())).collect())
    }
}

/// A tenth is held out.
fn fitted_on_and_held_out(samples: &[Sample]) -> (&[Sample], &[Sample]) {
    samples.split_at(samples.len() - samples.len() / 10)
}

/// The tokens of some samples, in order.
fn distinct(samples: &[Sample]) -> Vec<u32> {
    let mut tokens: Vec<u32> = samples.iter().map(|sample| sample.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// The samples of one tap as tensors.
fn gathered(
    states: &Array2<f32>,
    final_states: &Array2<f32>,
    samples: &[Sample],
    distinct: &[u32],
    device: &Device,
) -> Samples {
    let place = |sample: &Sample| distinct.partition_point(|&token| token < sample.token);
    Samples {
        states: gather(states, samples.iter().map(|sample| sample.row), device),
        before: gather(states, samples.iter().map(|sample| sample.row - 1), device),
        tokens: samples.iter().map(place).collect(),
        final_before: gather(final_states, samples.iter().map(|sample| sample.row - 1), device),
    }
}

/// Where the fitted maps put samples, `[samples, rank]` row-major.
fn places(
    fitted: &Fitted,
    states: &Array2<f32>,
    samples: &[Sample],
    device: &Device,
) -> Result<Vec<f32>, InvertError> {
    /// Samples projected at once.
    const BATCH: usize = 8192;
    let mut places = Vec::new();
    for samples in samples.chunks(BATCH) {
        let here = gather(states, samples.iter().map(|sample| sample.row), device);
        let before = gather(states, samples.iter().map(|sample| sample.row - 1), device);
        places.extend(projected(Tensor::cat(vec![here, before], 1), &fitted.projection, &fitted.offset)?);
    }
    Ok(places)
}
