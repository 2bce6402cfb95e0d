//! The secant search: where the tested candidates point to.

mod blend;
mod expectation;
mod guess;
mod recall;

use burn::tensor::{Tensor, TensorData};

use self::{blend::Guess, expectation::Expectation, guess::guess, recall::Memory};
use super::{Open, Place, Prior, Proposer, combination::Basis};
use crate::{Draft, InvertError, widened};

/// Guesses the embedding of the token looked for from the candidates tested so far, and proposes the tokens in its direction.
///
/// Around the state looked for, a token's state is roughly a linear function of its embedding. So the affine combination of
/// tested states that comes closest to the state given, applied to their embeddings, is a guess of the embedding; the tokens
/// in its direction are tested, and make the next guess better. Where the neighbourhood says little, and at the first position,
/// tokens from all over the vocabulary are tested first. It needs no calibration: the model, the prefix and the depth are
/// whatever they are.
///
/// What was tested at earlier positions is remembered: one linear map from states to embeddings, fitted to all of it, drafts the
/// positions to come. [`Secant::surveying`] makes it good from the beginning, and [`Secant::expecting`] weighs all of it against what
/// the model expects.
#[derive(Clone, Debug)]
pub struct Secant {
    limit: usize,
    survey: usize,
    /// The position at hand, and how many candidates were proposed there.
    here: Option<(u64, usize)>,
    proposed: usize,
    /// How many tokens were sampled there beside.
    sampled: usize,
    /// Whether this is where the survey is made.
    surveying: bool,
    memory: Memory,
    /// How nearly each token lies in the direction remembered for the position at hand, while it may be asked for again.
    remembered: Option<Vec<f64>>,
    /// What the model expects, and when it is asked.
    expectation: Option<(Expectation, Asked)>,
}

/// When a search asks what the model expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// At every position, before anything is tested.
    AtOnce,
    /// Only after the tokens predicted from earlier positions have failed. Cheaper when the tap is shallow, because a prior needs a full
    /// pass to the head.
    WhereMemoryFails,
}

/// What the search does at a position.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Tests tokens from all over the vocabulary.
    Sample,
    /// Tests so many tokens by a guess.
    Guess(Guess, usize),
}

/// Candidates of the first round.
const FEW: usize = 16;

/// Candidates of a later round.
const ROUND: usize = 64;

/// Candidates of a round at most, where many were tested in vain: another guess changes little any more.
const LARGEST_ROUND: usize = 4096;

/// Candidates that must be tested before they can point anywhere; until then it is the model's turn, here or in another source.
const ENOUGH: usize = 64;

/// Candidates at a position, but the first, after which its neighbourhood has said what it can.
const NEARBY: usize = 192;

/// Tokens from all over the vocabulary tested where the neighbourhood says little. Behind one prefix a state is a smooth function of
/// its token's embedding, and from so many pairs the embedding can be guessed nearly exactly.
const SAMPLED: usize = 384;

impl Secant {
    /// Up to `limit` candidates at a position.
    pub fn up_to(limit: usize) -> Self {
        Secant {
            limit,
            survey: 0,
            here: None,
            proposed: 0,
            sampled: 0,
            surveying: false,
            memory: Memory::default(),
            remembered: None,
            expectation: None,
        }
    }

    /// The same, which tests so many tokens from all over the vocabulary, beyond the limit, where it is first asked behind the first
    /// position: a sixteenth of the vocabulary at most. They cost what a few dozen forward passes of a prompt cost, once for all prompts of a
    /// model at a tap; and what they tell of the map from states to embeddings drafts most other positions.
    pub fn surveying(self, tokens: usize) -> Self {
        Secant { survey: tokens, ..self }
    }

    /// The same, which weighs where tested candidates point to against what the model expects, and learns from the tokens found how
    /// much each is worth. The limit of `prior` does not matter here.
    pub fn expecting(self, prior: Prior, asked: Asked) -> Self {
        Secant { expectation: Some((Expectation::new(prior), asked)), ..self }
    }

    /// How many tokens from all over the vocabulary are worth testing here; of a small one a share, as more would be half a scan.
    fn enough_sampled(&self, place: &Place<'_>) -> usize {
        let wanted = if self.surveying { self.survey } else { SAMPLED };
        wanted.min(place.vocab_size() / 16).max(2)
    }

    /// Begins a position.
    fn arrive(&mut self, place: &Place<'_>) {
        let here = (place.target.id(), place.position());
        if self.here != Some(here) {
            if let Some((expectation, _)) = &mut self.expectation {
                expectation.learn(place);
            }
            self.here = Some(here);
            (self.proposed, self.sampled) = (0, 0);
            self.remembered = None;
            // Too few tokens would make no map.
            let worthwhile = self.survey.min(place.vocab_size() / 16) >= recall::FEWEST;
            self.surveying = worthwhile && place.position() > 0 && self.memory.begin_survey();
        }
    }

    /// What to do next at a position; nothing while it is other sources' turn.
    fn next(&self, place: &Place<'_>) -> Option<Step> {
        let (tested, expects) = (place.tested.len(), self.expectation.is_some());
        let everywhere = place.position() == 0 || self.surveying || self.proposed >= NEARBY;
        let more = ROUND.max(self.proposed / 8).min(LARGEST_ROUND);
        if expects && !self.surveying && tested < ENOUGH {
            let count = if self.proposed == 0 { FEW } else { ENOUGH - tested };
            Some(Step::Guess(Guess::Remembered, count))
        } else if everywhere && (place.tested.is_empty() || self.sampled < self.enough_sampled(place)) {
            // Behind another hypothesis for the same position nothing is tested yet.
            Some(Step::Sample)
        } else if everywhere {
            Some(Step::Guess(Guess::Everywhere, more))
        } else if tested >= ENOUGH {
            Some(Step::Guess(Guess::Nearby, more))
        } else {
            (self.proposed == 0).then_some(Step::Guess(Guess::Remembered, FEW))
        }
    }

    /// The embedding guessed, `[1, d_model]`, if there is anything to guess from.
    fn point(&self, place: &Place<'_>, kind: Guess) -> Result<Option<Tensor<2>>, InvertError> {
        let basis = match kind {
            Guess::Remembered => return Ok(self.memory.expected_at(place)),
            Guess::Nearby => Basis::Nearby,
            Guess::Everywhere => Basis::Everywhere,
        };
        let guessed = guess(place, basis, &self.memory)?;
        let embedding = place.decoder.token_embedding();
        let shape = [1, guessed.len()];
        let data = TensorData::new(guessed, shape).convert_dtype(embedding.dtype());
        Ok(Some(Tensor::from_data(data, (&embedding.device(), embedding.dtype()))))
    }

    /// How nearly each token lies in the direction guessed, if there is anything to guess from.
    fn nearness(&self, place: &Place<'_>, kind: Guess) -> Result<Option<Vec<f64>>, InvertError> {
        let Some(point) = self.point(place, kind)? else { return Ok(None) };
        Ok(Some(widened(place.vocabulary.nearness(point)?)))
    }

    /// The untested tokens that lie in the direction of a guess, as far as the model expects them.
    fn likeliest_untested(
        &mut self,
        place: &Place<'_>,
        kind: Guess,
        count: usize,
    ) -> Result<Vec<u32>, InvertError> {
        // What is remembered does not change while a position is searched.
        let nearness = match self.remembered.take_if(|_| kind == Guess::Remembered) {
            Some(nearness) => Some(nearness),
            None => self.nearness(place, kind)?,
        };
        if kind == Guess::Remembered && self.proposed == 0 {
            self.remembered.clone_from(&nearness);
        }
        let by_memory_alone = self.proposed == 0 && nearness.is_some();
        let scores = match (&mut self.expectation, nearness) {
            (Some((_, Asked::WhereMemoryFails)), Some(nearness)) if by_memory_alone => nearness,
            (Some((expectation, _)), nearness) => expectation.likelihoods(place, kind, nearness)?,
            (None, Some(nearness)) => nearness,
            (None, None) => return Ok(Vec::new()),
        };
        Ok(place.likeliest_untested(&scores, count))
    }
}

impl Proposer for Secant {
    fn name(&self) -> &'static str {
        match self.expectation {
            Some(_) => "prior+secant",
            None => "secant",
        }
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        if !open.tested.is_empty() {
            return Ok(None);
        }
        self.memory.belong_to(open.decoder);
        self.memory.settle(open.target, open.prefix);
        Ok(self.memory.recall(open)?.map(Draft::from))
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        self.memory.belong_to(place.decoder);
        self.arrive(place);
        self.memory.take_in(place);
        let beginning = self.expectation.as_ref().and_then(|(expectation, _)| expectation.beginning(place));
        if let Some(first) = beginning.filter(|&first| !place.tested.contains(first)) {
            return Ok(vec![first]);
        }
        if self.proposed >= self.limit {
            return Ok(Vec::new());
        }
        match self.next(place) {
            None => Ok(Vec::new()),
            Some(Step::Sample) => {
                let sample = place.all_over(self.enough_sampled(place));
                self.sampled += sample.len().max(1);
                self.proposed += if self.surveying { 0 } else { sample.len() };
                Ok(sample)
            }
            Some(Step::Guess(kind, count)) => {
                let proposed = self.likeliest_untested(place, kind, count)?;
                self.proposed += proposed.len();
                Ok(proposed)
            }
        }
    }
}
