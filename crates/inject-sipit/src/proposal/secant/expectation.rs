//! What the model expects, weighed against where guesses point.

use std::collections::BTreeMap;

use super::blend::{Blend, Evidence, Guess, Scales};
use crate::{InvertError, Place, Prior};

/// The model's expectation, and how much it and each kind of guess turned out to be worth.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    prior: Prior,
    blends: [Blend; Guess::KINDS],
    said: Option<Said>,
}

/// What was said of the tokens of one position.
#[derive(Clone, Debug)]
struct Said {
    target: u64,
    position: usize,
    evidence: Evidence,
    /// How each kind of guess made was weighed last.
    weighed: BTreeMap<Guess, Scales>,
}

impl Expectation {
    pub(super) fn new(prior: Prior) -> Self {
        Expectation { prior, blends: Guess::ALL.map(Blend::of), said: None }
    }

    /// The token that prompts begin with, if the position is the first and there is one.
    pub(super) fn beginning(&self, place: &Place<'_>) -> Option<u32> {
        self.prior.beginning(place)
    }

    /// Compares what was said of the last position with the token found there.
    pub(super) fn learn(&mut self, place: &Place<'_>) {
        let Some(said) = self.said.take().filter(|said| said.target == place.target.id()) else { return };
        let Some(&found) = place.prefix.get(said.position) else { return };
        for (guess, scales) in &said.weighed {
            self.blends[*guess as usize].learn(&said.evidence, scales, found);
        }
    }

    /// How likely each token is, once this guess is made too; `nearness` as [`Vocabulary::nearness`](crate::Vocabulary::nearness) gives
    /// it, if there is anything to guess from.
    pub(super) fn likelihoods(
        &mut self,
        place: &Place<'_>,
        guess: Guess,
        nearness: Option<Vec<f64>>,
    ) -> Result<Vec<f64>, InvertError> {
        let (target, position) = (place.target.id(), place.position());
        let here = |said: &Said| (said.target, said.position) == (target, position);
        let said = match self.said.take().filter(here) {
            Some(said) => said,
            None => {
                let evidence = Evidence::new(self.prior.expectation(place)?);
                Said { target, position, evidence, weighed: BTreeMap::new() }
            }
        };
        let said = self.said.insert(said);
        if let Some(nearness) = nearness {
            said.evidence.take_up(guess, nearness);
        }
        let (likelihoods, scales) = self.blends[guess as usize].likelihoods(&said.evidence);
        said.weighed.insert(guess, scales);
        Ok(likelihoods)
    }
}
