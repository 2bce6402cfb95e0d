//! Tokens that occurred earlier in the prompt.

use std::collections::HashSet;

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    tuning::SAME_STATE_WITHIN,
};

use super::{OpenPosition, Prompt, Session, Source, Turn};

/// Returns the token before the open position if both positions have nearly the same state.
///
/// A first token that is repeated has the same state each time in a model with rotary positions only: every position attends to equal
/// values. Under the noise of a producer in 16 bits the states are still nearly equal.
pub(super) fn same_state(at: &OpenPosition<'_>) -> Option<u32> {
    let last = *at.prefix.last()?;
    let state = at.target().state(at.prefix.len() - 1);
    (distance(state, at.wanted()) <= SAME_STATE_WITHIN * norm(state)).then_some(last)
}

/// Proposes the tokens before the open position. Those whose states are nearest to the given state come first.
///
/// Texts repeat their tokens, and the state of an earlier occurrence in the same text is more similar to the given state than a
/// lens's prediction is. The same holds for attention sinks: consecutive ones are almost equal, and unlike all other states.
#[derive(Clone, Copy, Debug)]
pub struct Repeated;

impl Source for Repeated {
    type Memory = ();

    fn name(&self) -> &'static str {
        "repeated"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(Repeated))
    }
}

impl Session<()> for Repeated {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        let states = |position: usize| at.target().state(position);
        let mut before: Vec<(f64, u32)> = at
            .prefix
            .iter()
            .enumerate()
            .map(|(position, &id)| (distance(states(position), at.wanted()), id))
            .collect();
        before.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut once = HashSet::new();
        let nearest = before.into_iter().map(|(_, id)| id).filter(|&id| once.insert(id)).take(turn.limit);
        Ok(nearest.filter(|&id| !at.tested.contains(id)).collect())
    }
}
