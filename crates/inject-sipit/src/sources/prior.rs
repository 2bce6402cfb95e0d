//! The model's own expectation of the next token.

use super::{OpenPosition, Prompt, Session, Source, Turn, at_position::AtPosition, growing, most_likely};
use crate::error::InvertError;

/// Proposes the tokens that the model itself finds likeliest, in batches that grow.
///
/// At the last block and after the final norm the states given are enough: the state before the open position determines the
/// expectation. At other taps the model runs on to its head, one position at a time.
///
/// At the first position the prior proposes the token that prompts begin with, if there is one. Otherwise it uses the model's
/// average expectation after any single token.
#[derive(Clone, Debug, Default)]
pub struct Prior {
    first: Option<u32>,
}

impl Prior {
    /// Creates a prior for prompts that may begin with any token.
    pub fn new() -> Self {
        Prior::default()
    }

    /// Sets the token at the first position: BOS, if prompts begin with it.
    pub fn beginning_with(self, first: Option<u32>) -> Self {
        Prior { first }
    }

    /// Returns the token that prompts begin with, if the position is the first and there is one.
    pub(super) fn beginning(&self, at: &OpenPosition<'_>) -> Option<u32> {
        self.first.filter(|_| at.position() == 0)
    }

    /// Returns the likeliest tokens of a position, at most `limit`, the likeliest first.
    fn rank(&self, at: &OpenPosition<'_>, limit: usize) -> Result<Vec<u32>, InvertError> {
        match self.beginning(at) {
            Some(first) => Ok(vec![first]),
            None => Ok(most_likely(&at.expectation()?, limit)),
        }
    }
}

impl Source for Prior {
    type Memory = ();

    fn name(&self) -> &'static str {
        "prior"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(PriorSession { prior: self, here: AtPosition::default() }))
    }
}

struct PriorSession<'a> {
    prior: &'a Prior,
    here: AtPosition<Ranked>,
}

/// The likeliest tokens after one prefix.
#[derive(Default)]
struct Ranked {
    prefix: Vec<u32>,
    /// The number of tokens that were asked for.
    limit: usize,
    ids: Vec<u32>,
}

impl Session<()> for PriorSession<'_> {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        let limit = turn.limit.min(at.vocab_size());
        let here = self.here.get_or_begin(at.position(), Ranked::default);
        if here.prefix != at.prefix || here.limit < limit {
            let ids = self.prior.rank(at, limit)?;
            *here = Ranked { prefix: at.prefix.to_vec(), limit, ids };
        }
        let untested = here.ids.iter().copied().take(limit).filter(|&id| !at.tested.contains(id));
        Ok(untested.take(growing(at.tested.len())).collect())
    }
}
