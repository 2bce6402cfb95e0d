//! Tokens that are known to begin a prompt.

use inject_sipit::{
    Inverter, TargetStates,
    models::{Bos, Model},
};

use crate::{number::counted, outcome::Failure, output::note};

/// Tokens that are known to begin a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) ids: Vec<u32>,
    /// The number of first tokens that do not depend on the text after them.
    settled: usize,
}

impl Beginning {
    pub(super) fn of_ids(ids: Vec<u32>) -> Self {
        let settled = ids.len();
        Beginning { ids, settled }
    }

    /// The tokens of a text that something follows.
    pub(super) fn of_text(model: &Model, text: &str, bos: Bos) -> Result<Self, Failure> {
        let tokenizer = model.tokenizer()?;
        let (ids, settled) = (tokenizer.encode(text, bos)?, tokenizer.settled(text, bos)?);
        Ok(Beginning { ids, settled })
    }

    /// The tokens that are there whatever follows them.
    pub(super) fn settled(&self) -> &[u32] {
        &self.ids[..self.settled]
    }

    /// The tokens before a position of the prompt.
    pub(super) fn up_to(&self, position: usize) -> &[u32] {
        if position > self.ids.len() { self.settled() } else { &self.ids[..position] }
    }

    /// The tokens before a row whose position counts from the first token of the prompt, or from the first after this beginning.
    pub(super) fn before_row(&self, position: usize) -> &[u32] {
        if position < self.settled { &self.ids } else { self.up_to(position) }
    }

    /// The possible beginnings before the first row, the longest first.
    pub(super) fn possible(&self) -> impl Iterator<Item = &[u32]> {
        (self.settled..=self.ids.len()).rev().map(|count| &self.ids[..count])
    }

    /// The tokens before the first of these rows, which has a state of one of the tokens after them.
    pub(super) fn before<'a>(
        &self,
        rows: &TargetStates,
        inverter: impl FnOnce() -> Result<Inverter<'a>, Failure>,
    ) -> Result<&[u32], Failure> {
        match self.settled == self.ids.len() {
            true => Ok(&self.ids),
            false => Ok(&self.ids[..inverter()?.tokens_before(rows, &self.ids, self.settled)?]),
        }
    }

    /// Says how many of the tokens are taken as given. `of` names the option that gave the text.
    pub(super) fn tell(&self, given: usize, of: &str) {
        let all = counted(self.ids.len(), "token");
        note(&match given == self.ids.len() {
            true => format!("taken as given: {all} of {of}"),
            false => format!(
                "taken as given: {given} of {all} of {of}; the others may be parts of the tokens that follow, so these are searched"
            ),
        });
    }
}
