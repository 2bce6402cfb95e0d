//! The model's own expectation of the next token.

use super::{OpenPosition, Prompt, Session, Source, Turn, at_position::AtPosition, growing, most_likely};
use crate::error::InvertError;

/// Proposes the tokens that the model itself considers most likely, in growing batches.
///
/// At the last block and after the final norm, the given states suffice, because the previous position's state determines the
/// expectation. At other taps the model has to be computed up to its head, one position at a time.
///
/// At the first position the prior proposes the token with which prompts begin, if there is one. Otherwise it uses the model's
/// average expectation after single tokens.
#[derive(Clone, Debug, Default)]
pub struct Prior {
    first: Option<u32>,
}

impl Prior {
    /// Creates a prior for prompts that may begin with any token.
    pub fn new() -> Self {
        Prior::default()
    }

    /// Sets the token with which prompts begin, such as BOS.
    pub fn beginning_with(self, first: Option<u32>) -> Self {
        Prior { first }
    }

    /// Returns the token with which prompts begin, if there is one and the position is the first.
    pub(super) fn beginning(&self, at: &OpenPosition<'_>) -> Option<u32> {
        self.first.filter(|_| at.position() == 0)
    }

    /// Returns up to `limit` of the most likely tokens of a position, most likely first.
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

/// The most likely tokens after one prefix.
#[derive(Default)]
struct Ranked {
    prefix: Vec<u32>,
    /// The number of tokens requested.
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
