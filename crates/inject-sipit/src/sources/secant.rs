//! The secant search: guesses the right token's embedding from tested candidates.

mod blend;
mod guess;
mod memory;
mod position;
mod pull_back;
mod regression;
mod weighing;

use burn::tensor::{Tensor, TensorData};

pub use self::memory::SecantMemory;
pub(crate) use self::memory::StateMap;
use self::{
    blend::Guess,
    guess::guess,
    memory::Settled,
    position::{Here, Step},
    weighing::Weighing,
};
use super::{
    Draft, OpenPosition, Prior, Prompt, Provisional, Session, Source, Turn, at_position::AtPosition,
    combination::Basis, repeated::same_state,
};
use crate::{
    error::InvertError,
    models::PrefixCache,
    tensors::widened,
    tuning::{COMBINED_EVERYWHERE, SAMPLED_SHARE, SECANT_SURVEY_FEWEST},
};

/// Guesses the embedding of the right token from the candidates tested so far, and proposes the tokens in its direction.
///
/// Near the given state, a token's state is roughly a linear function of its embedding. So the affine combination of tested states
/// that is closest to the given state, applied to their embeddings, is a guess of the right token's embedding. The tokens in its
/// direction are tested, and improve the next guess. If few tested states are near, and at the first position, tokens from the
/// whole vocabulary are tested first. The search needs no calibration to a model, prefix or depth.
///
/// Candidates tested at earlier positions, also of earlier prompts, are kept in a [`SecantMemory`]. A linear map from states to
/// embeddings is fitted to all of them, and drafts the next positions. [`Secant::surveying`] makes this map accurate from the
/// start, and [`Secant::expecting`] combines it with the model's expectation.
///
/// A state that is nearly that of the position before it, as that of a second BOS is, needs no search: the same token is tested first.
#[derive(Clone, Debug, Default)]
pub struct Secant {
    survey: usize,
    expectation: Option<(Prior, PriorTiming)>,
}

/// The time at which a search computes the model's expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PriorTiming {
    /// At every position, before anything is tested.
    First,
    /// Only after the tokens predicted from earlier positions have failed. This is cheaper at shallow taps, because the
    /// expectation requires a full pass up to the head.
    Fallback,
}

impl Secant {
    /// Creates a search without a survey and without the model's expectation.
    pub fn new() -> Self {
        Secant::default()
    }

    /// Tests a sample of `tokens` tokens, but at most a sixteenth of the vocabulary, when the search is first called at a
    /// position other than the first. The sample does not count towards the limit of the turn. It costs a few dozen forward
    /// passes of a prompt, once for all prompts of a model at a tap. The map from states to embeddings that it determines drafts
    /// most other positions.
    pub fn surveying(self, tokens: usize) -> Self {
        Secant { survey: tokens, ..self }
    }

    /// Returns the number of tokens of the survey for a vocabulary of this size, or 0 if the survey would be too small to be
    /// useful.
    pub(crate) fn surveyed(&self, vocab_size: usize) -> usize {
        let tokens = self.survey.min(vocab_size / SAMPLED_SHARE);
        if tokens < SECANT_SURVEY_FEWEST { 0 } else { tokens }
    }

    /// Combines the guesses with the model's expectation. The weight of each is learned from the tokens found.
    pub fn expecting(self, prior: Prior, timing: PriorTiming) -> Self {
        Secant { expectation: Some((prior, timing)), ..self }
    }
}

impl Source for Secant {
    type Memory = SecantMemory;

    fn name(&self) -> &'static str {
        match self.expectation {
            Some(_) => "prior+secant",
            None => "secant",
        }
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<SecantMemory> + 'a>, InvertError> {
        let (here, settled) = (AtPosition::default(), Settled::default());
        Ok(Box::new(SecantSession { secant: self, here, settled, weighing: Weighing::default() }))
    }
}

struct SecantSession<'a> {
    secant: &'a Secant,
    here: AtPosition<Here>,
    settled: Settled,
    weighing: Weighing,
}

impl Session<SecantMemory> for SecantSession<'_> {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        _: &Provisional,
        memory: &mut SecantMemory,
    ) -> Result<Option<Draft>, InvertError> {
        if !at.tested.is_empty() {
            return Ok(None);
        }
        memory.settle(at, &mut self.settled);
        Ok(memory.draft(at)?.map(Draft::from))
    }

    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        memory: &mut SecantMemory,
    ) -> Result<Vec<u32>, InvertError> {
        if let Some(same) = same_state(at).filter(|&same| !at.tested.contains(same)) {
            return Ok(vec![same]);
        }
        let (secant, weighing) = (self.secant, &mut self.weighing);
        let here = self.here.get_or_begin(at.position(), || Here::begin(secant, at, weighing, memory));
        here.taken_in = memory.take_in(at.tested, here.taken_in);
        let beginning = secant.expectation.as_ref().and_then(|(prior, _)| prior.beginning(at));
        if let Some(first) = beginning.filter(|&first| !at.tested.contains(first)) {
            return Ok(vec![first]);
        }
        if here.proposed >= turn.limit {
            return Ok(Vec::new());
        }
        match here.next(secant, at) {
            None => Ok(Vec::new()),
            Some(Step::Sample) => {
                let sample = at.sample_of_vocabulary(here.sample_wanted(secant, at));
                here.sampled += sample.len().max(1);
                here.proposed += if here.surveying { 0 } else { sample.len() };
                Ok(sample)
            }
            Some(Step::Guess(kind, count)) => {
                let Some(scores) = scores(secant, here, weighing, at, turn.cache, kind, memory)? else {
                    return Ok(Vec::new());
                };
                memory.last = Some(kind);
                let proposed = at.likeliest_untested(&scores, count);
                here.proposed += proposed.len();
                Ok(proposed)
            }
        }
    }
}

/// Returns a score for every token by a guess, combined with the model's expectation. Returns `None` if nothing determines a
/// guess.
fn scores(
    secant: &Secant,
    here: &mut Here,
    weighing: &mut Weighing,
    at: &OpenPosition<'_>,
    cache: &PrefixCache,
    kind: Guess,
    memory: &mut SecantMemory,
) -> Result<Option<Vec<f64>>, InvertError> {
    // The memory's prediction does not change while a position is searched.
    let nearness = match here.remembered.take_if(|_| kind == Guess::Remembered) {
        Some(nearness) => Some(nearness),
        None => nearness(here, at, cache, kind, memory)?,
    };
    if kind == Guess::Remembered && here.proposed == 0 {
        here.remembered.clone_from(&nearness);
    }
    let by_memory_alone = here.proposed == 0 && nearness.is_some();
    match (&secant.expectation, nearness) {
        (Some((_, PriorTiming::Fallback)), Some(nearness)) if by_memory_alone => Ok(Some(nearness)),
        (Some(_), nearness) => weighing.likelihoods(at, kind, nearness, &memory.blends).map(Some),
        (None, nearness) => Ok(nearness),
    }
}

/// Returns the nearness of each token to the guessed direction, or `None` if nothing determines a guess.
fn nearness(
    here: &mut Here,
    at: &OpenPosition<'_>,
    cache: &PrefixCache,
    kind: Guess,
    memory: &SecantMemory,
) -> Result<Option<Vec<f64>>, InvertError> {
    let point = match kind {
        Guess::Remembered => memory.expected_at(at),
        Guess::Nearby => Some(combined(at, Basis::Nearby, memory)?),
        Guess::Everywhere => {
            here.everywhere += 1;
            // The nearest candidates give the better guess where states follow embeddings smoothly, and all of them where nearness says
            // little. It is not known which of the two a model is, so they take turns.
            let of_all = here.everywhere.is_multiple_of(2) && at.tested.sample().len() > COMBINED_EVERYWHERE;
            Some(if of_all { regression::guess(at)? } else { combined(at, Basis::Everywhere, memory)? })
        }
        Guess::PulledBack => {
            here.pulled_back += 1;
            let direction = here.gradients.direction(at, cache)?;
            return Ok(Some(widened(at.vocabulary().along(direction)?)));
        }
    };
    point.map(|point| Ok(widened(at.vocabulary().nearness(point)?))).transpose()
}

/// Returns the embedding guessed from a combination of tested candidates, `[1, d_model]`.
fn combined(at: &OpenPosition<'_>, basis: Basis, memory: &SecantMemory) -> Result<Tensor<2>, InvertError> {
    let guessed = guess(at, basis, memory)?;
    let (device, dtype) = (at.decoder().device(), at.decoder().dtype());
    let shape = [1, guessed.len()];
    let data = TensorData::new(guessed, shape).convert_dtype(dtype);
    Ok(Tensor::from_data(data, (&device, dtype)))
}
