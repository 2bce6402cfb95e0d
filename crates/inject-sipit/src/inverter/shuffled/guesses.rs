//! Tokens that rows without a place may have.

use std::collections::BTreeMap;

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    noise::spread,
    sources::{StateMap, most_likely},
    target::TargetStates,
    tensors::widened,
    tuning::{
        AUTO_SURVEY, SHUFFLED_EXPECTED, SHUFFLED_EXPECTED_FIRST, SHUFFLED_PAIRS, SHUFFLED_READ,
        SHUFFLED_SURVEY,
    },
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
    read: BTreeMap<usize, Vec<u32>>,
    /// Candidates of the position at which the rows are first read.
    early: Pairs,
    /// Candidates of the next position.
    here: Pairs,
    /// The number of tokens before those.
    after: usize,
}

/// Candidates that were tested at one position: their ids, and their states side by side.
#[derive(Clone, Default)]
struct Pairs {
    ids: Vec<u32>,
    states: Vec<f32>,
}

impl Guesses {
    /// Rounds of guesses: the first choices, a sample of the vocabulary until rows can be read, longer lists, a larger sample at this
    /// very position, and lists by that.
    pub(super) const ROUNDS: usize = Guesses::READ_HERE + 1;

    /// The round whose lists are read by the candidates of this position.
    pub(super) const READ_HERE: usize = 3 + SHUFFLED_READ.len();

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
            Guesses::READ_HERE => (0, 0),
            _ if round + 1 == Guesses::READ_HERE => {
                return spread(vocab_size as u32).take(SHUFFLED_SURVEY).collect();
            }
            _ => (SHUFFLED_READ[round - 2], SHUFFLED_EXPECTED[round - 2]),
        };
        let of_rows = remaining.iter().filter_map(|row| self.read.get(row));
        let of_rows = of_rows.flat_map(|list| list.iter().take(read));
        of_rows.chain(self.expected.iter().take(expected)).copied().collect()
    }

    /// Takes in candidates after `after` tokens.
    pub(super) fn take_in(&mut self, ids: &[u32], states: &[f64], after: usize) {
        if after != self.after {
            // First positions are unlike the others.
            let early = std::mem::take(&mut self.here);
            if self.after > 0 && self.read.is_empty() {
                self.early.ids.extend(early.ids);
                self.early.states.extend(early.states);
            }
            self.after = after;
        }
        if self.here.ids.len() < SHUFFLED_PAIRS {
            self.here.ids.extend_from_slice(ids);
            self.here.states.extend(states.iter().map(|&value| value as f32));
        }
    }

    /// Reads the likeliest tokens of the rows, once enough candidates after a first token are known.
    pub(super) fn read_rows(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        rows: &[usize],
    ) -> Result<(), InvertError> {
        let known = self.early.ids.len() + self.here.ids.len();
        if !self.read.is_empty() || self.after == 0 || known < AUTO_SURVEY / 2 {
            return Ok(());
        }
        let mut pairs = std::mem::take(&mut self.early);
        pairs.ids.extend_from_slice(&self.here.ids);
        pairs.states.extend_from_slice(&self.here.states);
        self.read = pairs.read(vocabulary, target, rows)?;
        Ok(())
    }

    /// Reads the rows again by the candidates of the next position alone. Only the row of this position has their prefix too.
    pub(super) fn read_here(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        rows: &[usize],
    ) -> Result<Vec<u32>, InvertError> {
        let lists = self.here.read(vocabulary, target, rows)?;
        // The first choices of all rows come first.
        let most = *SHUFFLED_READ.last().unwrap_or(&0);
        Ok((0..most)
            .flat_map(|place| lists.values().filter_map(move |list| list.get(place)))
            .copied()
            .collect())
    }

    /// The rows that are likeliest to be the first, the likeliest first: those nearest to the states of first tokens.
    pub(super) fn first_rows(&self, target: &TargetStates, rows: &[usize]) -> Vec<usize> {
        let width = target.d_model();
        let away = |row: usize| {
            let state = target.state(row);
            let nearest = self.here.states.chunks(width).map(|sample| distance(sample, state));
            nearest.fold(f64::INFINITY, f64::min) / norm(state).max(f64::MIN_POSITIVE)
        };
        let mut by_distance: Vec<(f64, usize)> = rows.iter().map(|&row| (away(row), row)).collect();
        by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
        by_distance.into_iter().map(|(_, row)| row).collect()
    }
}

impl Pairs {
    /// Reads the likeliest tokens of some rows by a map fitted to these pairs.
    fn read(
        &self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        rows: &[usize],
    ) -> Result<BTreeMap<usize, Vec<u32>>, InvertError> {
        let (decoder, mut read) = (vocabulary.decoder(), BTreeMap::new());
        if self.ids.is_empty() {
            return Ok(read);
        }
        let Some(map) = StateMap::of(decoder, &self.ids, &self.states)? else { return Ok(read) };
        let states = rows.iter().flat_map(|&row| target.state(row).iter().map(|&value| value as f32));
        let points = map.points(decoder, states.collect())?;
        let most = *SHUFFLED_READ.last().unwrap_or(&0);
        for (place, &row) in rows.iter().enumerate() {
            let nearness = vocabulary.nearness(points.clone().narrow(0, place, 1))?;
            read.insert(row, most_likely(&widened(nearness), most));
        }
        Ok(read)
    }
}
