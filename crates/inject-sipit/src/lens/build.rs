//! Makes lenses for many taps in one pass over the vocabulary.

mod codebooks;
mod cost;
mod prepared;
mod samples;
mod select;

use std::collections::BTreeMap;

use crate::{
    collisions::Arithmetic,
    error::InvertError,
    models::{Decoder, ModelError, Progress, Tap, Unit},
    states::{Extraction, Share, States, store::Positions},
    tuning::{LENS_FEWEST_SAMPLES, LENS_MOST_RANK},
    vocabulary::Vocabulary,
};

pub use self::cost::LensCost;
use self::{
    codebooks::Codebooks,
    prepared::Prepared,
    samples::{distinct, fitted_on_and_held_out, gathered, places},
};
use super::{
    Lens, LensError, LensShare,
    fit::{Fitted, fit, refine_points},
    share::TokenPoints,
};

/// The assumption that a lens makes about the first position of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstPosition {
    /// Every prompt begins with this token. A prompt that does not is still recovered, because other sources or the scan find its
    /// first token.
    Bos(u32),
    /// Prompts begin with any token. The states of first positions are tabulated by one more pass over the vocabulary.
    Any,
}

/// Makes lenses for one model.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_sipit::lens::{FirstPosition, LensBuilder};
/// use inject_sipit::models::{Model, Origin, Precision, Tap, silent};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
/// let model = Model::load(Origin::of_folder(&folder), Precision::default(), &Device::flex())?;
/// let text = (0..200).map(|i| (0..16).map(|j| (i * i * 31 + j * j * 7 + i * j) % 97).collect()).collect();
/// let prefixes = vec![vec![5, 6, 7], vec![80, 3]];
/// let builder = LensBuilder::new(vec![Tap::Block(1)], prefixes, text, FirstPosition::Any);
/// // Two prefixes and the first position: the whole vocabulary and the distinct tokens of the text at each.
/// assert!((3 * 97..=6 * 97).contains(&builder.cost(&model.decoder).candidates));
/// let lenses = builder.build(&model.decoder, &model.weight_hash()?, &mut silent)?;
/// // The weights are random and the text is meaningless, so one token in a hundred would be right by chance.
/// assert!(lenses[0].info().held_out_top_1 > 0.3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LensBuilder {
    /// The taps to make lenses for. The same passes serve all of them.
    pub taps: Vec<Tap>,
    /// Beginnings of ordinary prompts as token ids. The state of every token is computed after each of them. They should be
    /// varied, and some should end inside a word, because their mean represents all contexts of a token. `inject lens` uses four
    /// of up to 12 tokens, two of which end inside a word.
    pub prefixes: Vec<Vec<u32>>,
    /// Prompts as token ids. 600 to 2,000 prompts of 64 tokens are recommended; at least 256 positions that are not first ones are
    /// required. The last tenth of the positions is held out to choose the size of the lens, so put ordinary text last. Put some
    /// prompts of random tokens before it: without them a lens is worse on random prompts in deep layers.
    pub text: Vec<Vec<u32>>,
    /// The assumption about the first position of prompts.
    pub first: FirstPosition,
}

impl LensBuilder {
    /// Creates a builder. The fields of the same names describe the arguments.
    pub fn new(taps: Vec<Tap>, prefixes: Vec<Vec<u32>>, text: Vec<Vec<u32>>, first: FirstPosition) -> Self {
        LensBuilder { taps, prefixes, text, first }
    }

    /// Sets [`LensBuilder::taps`].
    pub fn with_taps(self, taps: Vec<Tap>) -> Self {
        LensBuilder { taps, ..self }
    }

    /// Sets [`LensBuilder::prefixes`].
    pub fn with_prefixes(self, prefixes: Vec<Vec<u32>>) -> Self {
        LensBuilder { prefixes, ..self }
    }

    /// Sets [`LensBuilder::text`].
    pub fn with_text(self, text: Vec<Vec<u32>>) -> Self {
        LensBuilder { text, ..self }
    }

    /// Sets [`LensBuilder::first`].
    pub fn with_first(self, first: FirstPosition) -> Self {
        LensBuilder { first, ..self }
    }

    /// Makes one lens for each distinct tap, sorted by depth. `weight_hash` is
    /// [`Model::weight_hash`](crate::models::Model::weight_hash). It is stored in the lens, and [`Lens::load`] compares it.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the decoder refuses the prompts, the text is too short, there is no prefix, or the states do not
    /// determine a lens.
    pub fn build(
        &self,
        decoder: &Decoder,
        weight_hash: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Lens>, InvertError> {
        let mut prepared = self.prepare(decoder, Share::WHOLE, progress)?;
        let batches = 0..prepared.codebooks.batches();
        let points = prepared.codebooks.points(&prepared.fitted, batches, progress)?;
        self.finish(prepared, points, decoder, weight_hash, progress)
    }

    /// Computes one share of the passes over the vocabulary, which take most of the time. The text is computed by every share.
    ///
    /// # Errors
    ///
    /// As [`LensBuilder::build`].
    pub fn build_share(
        &self,
        share: Share,
        decoder: &Decoder,
        weight_hash: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<LensShare, InvertError> {
        let mut prepared = self.prepare(decoder, share, progress)?;
        let batches = share.range(prepared.codebooks.batches());
        let tokens = prepared.codebooks.tokens(batches.clone());
        let points = prepared.codebooks.points(&prepared.fitted, batches, progress)?;
        Ok(LensShare::new(share, tokens, prepared.job(decoder, weight_hash)?, points))
    }

    /// Makes the lenses of [`LensBuilder::build`], bit for bit, from all shares of the passes over the vocabulary, in any order that they
    /// are given.
    ///
    /// # Errors
    ///
    /// As [`LensBuilder::build`], [`LensError::OtherJob`] for a share of other lenses, and [`LensError::Shares`] if a share is missing
    /// or there twice.
    pub fn build_from(
        &self,
        shares: &[LensShare],
        decoder: &Decoder,
        weight_hash: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Lens>, InvertError> {
        let prepared = self.prepare(decoder, Share::WHOLE, progress)?;
        let job = prepared.job(decoder, weight_hash)?;
        let rank = |(&tap, fitted): (&Tap, &Fitted)| {
            let first = prepared.codebooks.table(tap).map(|[_, offset]| offset.dims()[1]);
            (tap, (fitted.offset.dims()[1], first))
        };
        let ranks = prepared.fitted.iter().map(rank).collect();
        let points = LensShare::merged(shares, &job, decoder.config().vocab_size, &ranks)?;
        self.finish(prepared, points, decoder, weight_hash, progress)
    }

    /// Computes the text and fits the maps to it.
    fn prepare<'a>(
        &self,
        decoder: &'a Decoder,
        share: Share,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared<'a>, InvertError> {
        let taps = self.checked_taps(decoder)?;
        if let FirstPosition::Bos(bos) = self.first {
            decoder.config().check_prompt(0, &[bos])?;
        }
        let samples = samples::of_text(&self.text);
        if samples.len() < LENS_FEWEST_SAMPLES {
            return Err(
                LensError::TooLittleText { found: samples.len(), expected: LENS_FEWEST_SAMPLES }.into()
            );
        }
        if self.prefixes.is_empty() || self.prefixes.iter().any(Vec::is_empty) {
            return Err(LensError::NoPrefix.into());
        }
        let (fitted_on, _) = fitted_on_and_held_out(&samples);

        // The prefixes are computed first, because they are cheap: a prefix that the model cannot compute is refused before the
        // text is computed.
        let mut codebooks = Codebooks::new(decoder, &taps, &self.prefixes, self.first)?;
        let text = self.text_states(decoder, &taps, progress)?;
        let distinct = distinct(fitted_on);
        codebooks.expect(share.range(codebooks.batches()), &distinct);
        let classes = codebooks.mean_states(&distinct, progress)?;
        let final_states = &text[&Tap::FinalNorm];
        let device = decoder.device();
        let mut fitted: BTreeMap<Tap, Fitted> = BTreeMap::new();
        for (done, &tap) in taps.iter().enumerate() {
            let samples = gathered(&text[&tap], final_states, fitted_on, &distinct, &device);
            let rank = LENS_MOST_RANK.min(decoder.config().d_model);
            fitted.insert(tap, fit(tap, &samples, classes[&tap].clone(), rank)?);
            progress(Progress::new("fit", Unit::Taps, done as u64 + 1, taps.len() as u64));
        }
        codebooks.fit_first(&distinct, progress)?;
        Ok(Prepared { taps, samples, text, fitted, codebooks })
    }

    /// Makes lenses of the points of all tokens.
    fn finish(
        &self,
        prepared: Prepared<'_>,
        mut points: BTreeMap<Tap, TokenPoints>,
        decoder: &Decoder,
        weight_hash: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Lens>, InvertError> {
        let Prepared { taps, samples, text, fitted, mut codebooks } = prepared;
        let (fitted_on, held_out) = fitted_on_and_held_out(&samples);
        let device = decoder.device();
        let ids: Vec<u32> = fitted_on.iter().map(|sample| sample.token).collect();
        for (tap, points) in &mut points {
            let seen = places(&fitted[tap], &text[tap], fitted_on, &device)?;
            refine_points(&mut points.later, fitted[tap].offset.dims()[1], &ids, &seen);
        }
        let vocabulary = Vocabulary::new(decoder, Arithmetic::I16OnProcessor);
        let mut lenses = Vec::with_capacity(taps.len());
        for (done, &tap) in taps.iter().enumerate() {
            let held = select::HeldOut {
                vocabulary: &vocabulary,
                tap,
                states: &text[&tap],
                held_out,
                fitted_on: fitted_on.len(),
                prefixes: self.prefixes.len(),
                weight_hash,
            };
            let TokenPoints { later, first } = points.remove(&tap).unwrap_or_default();
            lenses.push(held.select(&fitted[&tap], &later, codebooks.first(tap, first)?)?);
            progress(Progress::new("measure", Unit::Taps, done as u64 + 1, taps.len() as u64));
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

    fn text_states(
        &self,
        decoder: &Decoder,
        taps: &[Tap],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<Tap, States>, InvertError> {
        let wanted = taps.iter().copied().chain([Tap::FinalNorm]).collect();
        let extraction = Extraction::new(wanted, Positions::All)?;
        let states = extraction.run(decoder, &self.text, &mut |step: Progress<'_>| {
            progress(Progress::new("text", Unit::Prompts, step.done, step.total));
        })?;
        Ok(states)
    }
}
