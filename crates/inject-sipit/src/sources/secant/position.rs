//! The search at one position: what it has done there, and its next step.

use super::{Secant, SecantMemory, blend::Guess, pull_back::PulledBack, weighing::Weighing};
use crate::{
    sources::OpenPosition,
    tuning::{
        SAMPLED_SHARE, SECANT_ENOUGH, SECANT_FIRST_ROUND, SECANT_LARGEST_ROUND, SECANT_NEARBY, SECANT_ROUND,
        SECANT_SAMPLED,
    },
};

/// The state of the search at one position.
#[derive(Default)]
pub(super) struct Here {
    /// The number of candidates proposed, without those of a survey.
    pub(super) proposed: usize,
    /// The number of tokens sampled from the whole vocabulary.
    pub(super) sampled: usize,
    /// Whether the survey is made at this position.
    pub(super) surveying: bool,
    /// The number of tested candidates that were added to the memory.
    pub(super) taken_in: usize,
    /// The nearness of each token to the remembered direction, while it may be needed again.
    pub(super) remembered: Option<Vec<f64>>,
    /// The number of guesses by the states of tested candidates of the whole vocabulary.
    pub(super) everywhere: usize,
    /// The number of guesses by their gradients.
    pub(super) pulled_back: usize,
    pub(super) gradients: PulledBack,
    /// Whether gradients are asked before the neighbourhood, because they found the token of the last position that was searched.
    pub(super) gradients_lead: bool,
}

/// The next action of the search at a position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Test a sample of the whole vocabulary.
    Sample,
    /// Test this number of tokens by a guess.
    Guess(Guess, usize),
}

impl Here {
    pub(super) fn begin(
        secant: &Secant,
        at: &OpenPosition<'_>,
        weighing: &mut Weighing,
        memory: &mut SecantMemory,
    ) -> Self {
        weighing.learn(at.prefix, &mut memory.blends);
        // Too few tokens do not determine a map.
        let worthwhile = secant.surveyed(at.vocab_size()) > 0;
        let surveying = worthwhile && at.position() > 0 && memory.begin_survey();
        Here { surveying, gradients_lead: memory.gradients_lead(), ..Here::default() }
    }

    /// Returns the number of tokens of the whole vocabulary worth testing here. It is limited to a share of a small vocabulary,
    /// because testing more would amount to half a scan.
    pub(super) fn sample_wanted(&self, secant: &Secant, at: &OpenPosition<'_>) -> usize {
        let wanted = if self.surveying { secant.survey } else { SECANT_SAMPLED };
        wanted.min(at.vocab_size() / SAMPLED_SHARE).max(2)
    }

    /// Returns the next step, or `None` while it is the turn of other sources.
    pub(super) fn next(&self, secant: &Secant, at: &OpenPosition<'_>) -> Option<Step> {
        let (tested, expects) = (at.tested.len(), secant.expectation.is_some());
        let sampled_first = at.position() == 0 || self.surveying;
        let everywhere = sampled_first || self.proposed >= SECANT_NEARBY;
        // States and gradients take turns. Where a sample was tested first, two guesses by states come before: that mostly suffices.
        // Where the neighbourhood was tested in vain, gradients begin, because they need no sample.
        let states_made = if sampled_first { self.everywhere.saturating_sub(1) } else { self.everywhere + 1 };
        let by_gradients =
            tested >= SECANT_ENOUGH && self.pulled_back < states_made && self.gradients.has_more(at);
        let more = SECANT_ROUND.max(self.proposed / 8).min(SECANT_LARGEST_ROUND);
        if expects && !self.surveying && tested < SECANT_ENOUGH {
            let count = if self.proposed == 0 { SECANT_FIRST_ROUND } else { SECANT_ENOUGH - tested };
            Some(Step::Guess(Guess::Remembered, count))
        } else if by_gradients && (everywhere || self.gradients_lead) {
            Some(Step::Guess(Guess::PulledBack, more))
        } else if everywhere && (at.tested.is_empty() || self.sampled < self.sample_wanted(secant, at)) {
            // After another hypothesis for the same prefix nothing is tested yet.
            Some(Step::Sample)
        } else if everywhere {
            Some(Step::Guess(Guess::Everywhere, more))
        } else if tested >= SECANT_ENOUGH {
            Some(Step::Guess(Guess::Nearby, more))
        } else {
            (self.proposed == 0).then_some(Step::Guess(Guess::Remembered, SECANT_FIRST_ROUND))
        }
    }
}
