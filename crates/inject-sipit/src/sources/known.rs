//! Tokens that were found in another way.

use crate::error::InvertError;

use super::{Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn};

/// Drafts the tokens that a search of another kind found for a whole prompt.
#[derive(Clone, Debug)]
pub struct Known {
    ids: Vec<u32>,
}

impl Known {
    /// Creates a source that drafts these tokens from the first position on.
    pub fn new(ids: Vec<u32>) -> Self {
        Known { ids }
    }
}

impl Source for Known {
    type Memory = ();

    fn name(&self) -> &'static str {
        "known"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(self))
    }
}

impl Session<()> for &Known {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        _: &Provisional,
        _: &mut (),
    ) -> Result<Option<Draft>, InvertError> {
        Ok(self.ids.get(at.position()..).filter(|ids| !ids.is_empty()).map(|ids| Draft::from(ids.to_vec())))
    }

    fn propose(&mut self, at: &OpenPosition<'_>, _: &Turn<'_>, _: &mut ()) -> Result<Vec<u32>, InvertError> {
        Ok(self.ids.get(at.position()).copied().into_iter().collect())
    }
}
