//! The combination of the model's expectation with the directions of guesses at one position.

use std::collections::BTreeMap;

use super::blend::{Blends, Evidence, Guess, Scales};
use crate::{error::InvertError, sources::OpenPosition};

/// The evidence about the tokens of the last searched position.
#[derive(Debug, Default)]
pub(super) struct Weighing {
    last: Option<Weighed>,
}

#[derive(Debug)]
struct Weighed {
    position: usize,
    evidence: Evidence,
    /// The scales of each kind of guess that was made, from its last weighing.
    scales: BTreeMap<Guess, Scales>,
}

impl Weighing {
    /// Adjusts the blends by comparing the predictions for the last position with the token found there.
    pub(super) fn learn(&mut self, prefix: &[u32], blends: &mut Blends) {
        let Some(last) = self.last.take() else { return };
        let Some(&found) = prefix.get(last.position) else { return };
        for (guess, scales) in &last.scales {
            blends.of_mut(*guess).learn(&last.evidence, scales, found);
        }
    }

    /// Returns the likelihood of each token after adding this guess. `nearness` is that of
    /// [`Vocabulary::nearness`](crate::sources::Vocabulary::nearness), if there is anything to guess from.
    pub(super) fn likelihoods(
        &mut self,
        at: &OpenPosition<'_>,
        guess: Guess,
        nearness: Option<Vec<f64>>,
        blends: &Blends,
    ) -> Result<Vec<f64>, InvertError> {
        let position = at.position();
        let weighed = match self.last.take().filter(|last| last.position == position) {
            Some(last) => last,
            None => {
                let evidence = Evidence::new(at.expectation()?);
                Weighed { position, evidence, scales: BTreeMap::new() }
            }
        };
        let weighed = self.last.insert(weighed);
        if let Some(nearness) = nearness {
            weighed.evidence.add_guess(guess, nearness);
        }
        let (likelihoods, scales) = blends.of(guess).likelihoods(&weighed.evidence);
        weighed.scales.insert(guess, scales);
        Ok(likelihoods)
    }
}
