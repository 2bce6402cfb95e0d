//! The candidates tested so far, and the map from states to embeddings fitted to them.

mod fit;

use crate::{
    error::InvertError,
    models::Decoder,
    sources::{OpenPosition, Tested},
    tuning::{SECANT_MOST_PAIRS, SECANT_REACH, SECANT_SURVEY_FEWEST},
};
use burn::tensor::Tensor;

use self::fit::Fit;
pub(crate) use self::fit::Fit as StateMap;
use super::blend::{Blends, Guess};

/// The knowledge of a [`Secant`](super::Secant) search: pairs of states and tokens, the ridge regression from states to
/// embeddings, and the trust in each kind of guess.
#[derive(Clone, Debug, Default)]
pub struct SecantMemory {
    /// Whether the vocabulary was surveyed after a first position.
    surveyed: bool,
    ids: Vec<u32>,
    /// The states, `[pairs, d_model]` row-major.
    states: Vec<f32>,
    fit: Option<Fit>,
    /// The prediction for the prompt drafted last. Only one is kept, so that the memory stays small for any number of prompts.
    predicted: Option<Prediction>,
    /// The length of the next draft.
    reach: usize,
    /// The prompt drafted last, and the position where that draft began.
    drafted: Option<(usize, usize)>,
    pub(super) blends: Blends,
    /// The guess by which candidates were proposed last.
    pub(super) last: Option<Guess>,
    gradients_lead: bool,
}

/// The number of recovered tokens of a prompt that were added to the memory with the given states.
#[derive(Debug, Default)]
pub(super) struct Settled {
    count: usize,
    /// Whether the memory contained a survey at that time. A survey clears the memory.
    surveyed: bool,
}

/// The predictions of one fit for all positions of one prompt.
#[derive(Clone, Debug)]
struct Prediction {
    prompt: usize,
    /// The number of pairs the map was fitted to.
    pairs: usize,
    /// The predicted embeddings, `[positions, d_model]`.
    points: Tensor<2>,
    /// The tokens nearest to them.
    ids: Vec<u32>,
}

impl SecantMemory {
    /// Begins a survey of the vocabulary, unless one was made, and returns whether it began. Earlier pairs are removed, because
    /// first positions are attention sinks and unlike the others.
    pub(super) fn begin_survey(&mut self) -> bool {
        if self.surveyed {
            return false;
        }
        let blends = std::mem::take(&mut self.blends);
        let gradients_lead = self.gradients_lead;
        *self = SecantMemory { surveyed: true, blends, gradients_lead, ..SecantMemory::default() };
        true
    }

    /// Returns whether the token of the last position that was searched came from gradients.
    pub(super) fn gradients_lead(&mut self) -> bool {
        if let Some(last) = self.last.take() {
            self.gradients_lead = last == Guess::PulledBack;
        }
        self.gradients_lead
    }

    /// Adds the candidates tested at a position, except the first `known`. Returns the number that is then known.
    pub(super) fn take_in(&mut self, tested: &Tested, known: usize) -> usize {
        for (id, state) in tested.sample().iter().skip(known) {
            self.push(*id, state);
        }
        tested.sample().len()
    }

    /// Adds the tokens recovered since the last call, with the given states. These are the most accurate pairs.
    pub(super) fn settle(&mut self, at: &OpenPosition<'_>, settled: &mut Settled) {
        if self.ids.len() >= SECANT_MOST_PAIRS {
            return;
        }
        let known = if settled.surveyed == self.surveyed { settled.count } else { 0 };
        for (position, &id) in at.prefix.iter().enumerate().skip(known) {
            self.push(id, at.target().state(position));
        }
        *settled = Settled { count: at.prefix.len(), surveyed: self.surveyed };
    }

    fn push(&mut self, id: u32, state: &[f64]) {
        if self.ids.len() < SECANT_MOST_PAIRS {
            self.ids.push(id);
            self.states.extend(state.iter().map(|&value| value as f32));
        }
    }

    /// Returns the tokens predicted for the next open positions, or `None` before enough candidates were tested.
    pub(super) fn draft(&mut self, at: &OpenPosition<'_>) -> Result<Option<Vec<u32>>, InvertError> {
        if self.ids.len() < SECANT_SURVEY_FEWEST {
            return Ok(None);
        }
        self.adapt_reach(at);
        let stale = self.fit.as_ref().is_none_or(|fit| self.ids.len() >= 4 * fit.pairs());
        if stale {
            self.fit = Fit::of(at.decoder(), &self.ids, &self.states)?;
        }
        let Some(fit) = &self.fit else { return Ok(None) };
        let (prompt, pairs) = (at.prompt.number(), fit.pairs());
        let known = self.predicted.take().filter(|known| (known.prompt, known.pairs) == (prompt, pairs));
        let prediction = match known {
            Some(known) => known,
            None => {
                let points = fit.predicted(at)?;
                let ids = at.vocabulary().nearest(points.clone())?;
                Prediction { prompt, pairs, points, ids }
            }
        };
        let begin = at.position();
        let end = at.target().positions().min(begin + self.reach);
        Ok(Some(self.predicted.insert(prediction).ids[begin..end].to_vec()))
    }

    /// Returns the embedding predicted at one position, `[1, d_model]`, if the last draft was of this prompt.
    pub(super) fn expected_at(&self, at: &OpenPosition<'_>) -> Option<Tensor<2>> {
        let known = self.predicted.as_ref().filter(|known| known.prompt == at.prompt.number())?;
        Some(known.points.clone().narrow(0, at.position(), 1))
    }

    /// Maps a difference of states to a difference of embeddings, if there is a map.
    pub(super) fn difference(
        &self,
        decoder: &Decoder,
        states: &[f64],
    ) -> Result<Option<Vec<f64>>, InvertError> {
        self.fit.as_ref().map(|fit| fit.difference(decoder, states)).transpose()
    }

    /// Increases the length of drafts while they are right, and decreases it when they are not.
    fn adapt_reach(&mut self, at: &OpenPosition<'_>) {
        let (prompt, begin) = (at.prompt.number(), at.position());
        let (shortest, longest) = SECANT_REACH;
        self.reach = match self.drafted {
            Some((drafted, last)) if drafted == prompt && last <= begin => {
                (2 * (begin - last)).clamp(shortest, longest)
            }
            _ => shortest.max(self.reach),
        };
        self.drafted = Some((prompt, begin));
    }
}
