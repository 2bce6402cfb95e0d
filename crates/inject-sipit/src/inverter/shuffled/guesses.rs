//! Tokens that rows without a place may have.

use std::collections::HashMap;

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    noise::spread,
    sources::{StateMap, most_likely},
    target::TargetStates,
    tensors::widened,
    tuning::{AUTO_SURVEY, SHUFFLED_EXPECTED, SHUFFLED_EXPECTED_FIRST, SHUFFLED_READ},
    vocabulary::Vocabulary,
};
use burn::tensor::Tensor;

/// Tokens that rows without a place may have: those that a linear map from states to embeddings reads from each row, and those that
/// the model expects next.
#[derive(Default)]
pub(super) struct Guesses {
    /// The likeliest tokens at the next position.
    expected: Vec<u32>,
    /// The likeliest tokens of each row, whatever its place.
    read: HashMap<usize, Vec<u32>>,
    /// Candidates and their states: those of the first position, or those of later ones.
    ids: Vec<u32>,
    states: Vec<f32>,
    /// The number of tokens before the last candidates.
    after: usize,
}

impl Guesses {
    /// Rounds of guesses: the first choices, a sample of the vocabulary until rows can be read, and longer lists.
    pub(super) const ROUNDS: usize = 2 + SHUFFLED_READ.len();

    /// Takes the state after the final norm of the last token, if the model has a head.
    pub(super) fn expect(
        &mut self,
        last: Option<Tensor<2>>,
        vocabulary: &Vocabulary<'_>,
    ) -> Result<(), InvertError> {
        let most = *SHUFFLED_EXPECTED.last().unwrap_or(&0);
        self.expected = match last {
            Some(state) => most_likely(&widened(vocabulary.logits(state)?), most),
            None => Vec::new(),
        };
        Ok(())
    }

    /// The tokens of one round.
    pub(super) fn round(&self, round: usize, remaining: &[usize], vocab_size: usize) -> Vec<u32> {
        let (read, expected) = match round {
            0 => (1, SHUFFLED_EXPECTED_FIRST),
            1 if self.read.is_empty() => return spread(vocab_size as u32).take(AUTO_SURVEY).collect(),
            1 => (0, 0),
            _ => (SHUFFLED_READ[round - 2], SHUFFLED_EXPECTED[round - 2]),
        };
        let of_rows = remaining.iter().filter_map(|row| self.read.get(row));
        let of_rows = of_rows.flat_map(|list| list.iter().take(read));
        of_rows.chain(self.expected.iter().take(expected)).copied().collect()
    }

    /// Takes in candidates after `after` tokens.
    pub(super) fn take_in(&mut self, ids: &[u32], states: &[f64], after: usize) {
        if !self.read.is_empty() {
            return;
        }
        if self.after == 0 && after > 0 {
            // First positions are unlike the others.
            (self.ids, self.states) = (Vec::new(), Vec::new());
        }
        self.after = after;
        self.ids.extend_from_slice(ids);
        self.states.extend(states.iter().map(|&value| value as f32));
    }

    /// Reads the likeliest tokens of the rows, once enough candidates after a first token are known.
    pub(super) fn read_rows(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        rows: &[usize],
    ) -> Result<(), InvertError> {
        if !self.read.is_empty() || self.after == 0 || self.ids.len() < AUTO_SURVEY / 2 {
            return Ok(());
        }
        let decoder = vocabulary.decoder();
        let Some(map) = StateMap::of(decoder, &self.ids, &self.states)? else { return Ok(()) };
        let states: Vec<f32> =
            rows.iter().flat_map(|&row| target.state(row).iter().map(|&value| value as f32)).collect();
        let points = map.points(decoder, states)?;
        let most = *SHUFFLED_READ.last().unwrap_or(&0);
        for (place, &row) in rows.iter().enumerate() {
            let nearness = vocabulary.nearness(points.clone().narrow(0, place, 1))?;
            self.read.insert(row, most_likely(&widened(nearness), most));
        }
        (self.ids, self.states) = (Vec::new(), Vec::new());
        Ok(())
    }

    /// The rows that are likeliest to be the first, the likeliest first: those nearest to the states of first tokens.
    pub(super) fn first_rows(&self, target: &TargetStates, rows: &[usize]) -> Vec<usize> {
        let width = target.d_model();
        let away = |row: usize| {
            let state = target.state(row);
            let nearest = self.states.chunks(width).map(|sample| distance(sample, state));
            nearest.fold(f64::INFINITY, f64::min) / norm(state).max(f64::MIN_POSITIVE)
        };
        let mut by_distance: Vec<(f64, usize)> = rows.iter().map(|&row| (away(row), row)).collect();
        by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
        by_distance.into_iter().map(|(_, row)| row).collect()
    }
}
