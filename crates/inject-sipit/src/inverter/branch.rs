//! The test of candidates after one hypothesis.

use crate::{
    acceptance::NoiseOrigin,
    collisions::Ranked,
    error::InvertError,
    hypothesis::Hypothesis,
    policy::{Open, PromptSearch},
    settings::Scan,
    sources::Tested,
    tuning::{CROWDED_FIRST, CROWDED_LATER, CROWDED_UNLIKELY},
};

use super::{
    comparison::{Comparison, Phase},
    trial::Trial,
};

/// The search at the open position after one hypothesis.
pub(super) struct Branch {
    pub(super) hypothesis: Hypothesis,
    pub(super) trial: Trial,
    /// The candidate that was examined, if one came near enough.
    pub(super) examined: Option<u32>,
    /// The largest distance between two computations of one candidate here, if one was examined.
    pub(super) seen: Option<f64>,
    /// The origin of the candidates, batch by batch.
    origins: Vec<(&'static str, usize)>,
    /// Whether the whole vocabulary was tested.
    pub(super) spent: bool,
    /// Whether the nearest tokens after the best hypothesis were tested, which is enough where wrong tokens fit too.
    pub(super) led: bool,
}

impl Branch {
    /// A branch at the position `at`, where `tested` drafted candidates were compared before.
    pub(super) fn new(
        hypothesis: Hypothesis,
        at: usize,
        tested: Tested,
        comparison: &Comparison<'_>,
    ) -> Self {
        Branch {
            hypothesis,
            origins: if tested.is_empty() { Vec::new() } else { vec![("draft", tested.len())] },
            trial: Trial::at(at, tested, comparison),
            examined: None,
            seen: None,
            spent: false,
            led: false,
        }
    }

    /// Whether no token of the vocabulary fits after this hypothesis.
    pub(super) fn is_excluded(&self) -> bool {
        self.spent && self.trial.tested.fitting().is_empty()
    }

    /// Whether nothing more is tested here: the vocabulary is spent, or enough was tested and something fits.
    pub(super) fn is_done(&self, comparison: &Comparison<'_>) -> bool {
        self.spent || self.led || self.is_satisfied(comparison)
    }

    /// Whether wrong tokens fit, or are expected to, and no test of the whole vocabulary is asked for. More may fit than are expected: BOS is
    /// unlike the first tokens of the calibration.
    pub(super) fn is_crowded(&self, comparison: &Comparison<'_>) -> bool {
        let Trial { yardstick, tested, .. } = &self.trial;
        let more = yardstick.origin() == NoiseOrigin::Producer && tested.more_fit();
        (yardstick.is_crowded() || more) && comparison.inverter.settings().scan == Scan::AsNeeded
    }

    fn is_satisfied(&self, comparison: &Comparison<'_>) -> bool {
        let (tested, settings) = (&self.trial.tested, comparison.inverter.settings());
        let Some(nearest) = tested.fitting().first() else { return false };
        if settings.scan == Scan::Whole || tested.len() <= settings.rivals {
            return false;
        }
        if self.trial.is_doubtful() {
            return true;
        }
        let settles_no_more = match self.is_crowded(comparison) {
            // Where wrong tokens fit too, a test of the whole vocabulary settles nothing. The nearest of the likely ones is followed, unless
            // it is so far away that the right one is probably another.
            true => {
                let wanted = if self.trial.at == 0 { CROWDED_FIRST } else { CROWDED_LATER };
                let likely = self.trial.yardstick.is_likely(nearest.distance);
                tested.len() >= if likely { wanted } else { CROWDED_UNLIKELY * wanted }
            }
            // Where more fit than are followed, the rest of the vocabulary changes nothing.
            false => tested.more_fit(),
        };
        settles_no_more || self.trial.is_enough(comparison)
    }

    /// Tests the neighbours of the token that fits, the next candidates of the policy, or the next batch of the scan.
    pub(super) fn test_batch(
        &mut self,
        search: &mut PromptSearch<'_>,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), InvertError> {
        let prefix = self.hypothesis.ids();
        let decoder = comparison.inverter.decoder;
        let cache = self.hypothesis.cache(decoder, comparison.target, &mut comparison.cost)?;
        let deadline = comparison.watch.deadline();
        let open =
            Open { prefix: &prefix, tested: &self.trial.tested, deadline, progress: comparison.progress };
        // If the token that fits is not the right one, one of these probably is.
        let neighbours = self.trial.untested_neighbours(comparison)?;
        let (source, mut ids) = match neighbours.is_empty() {
            false => ("neighbours", neighbours),
            true => match search.propose(open, cache, &mut comparison.cost)? {
                Some(proposed) => proposed,
                None => ("scan", self.trial.next_of_scan(comparison)),
            },
        };
        if ids.is_empty() {
            self.spent = true;
            return Ok(());
        }
        let most = comparison.inverter.settings.budget.candidates.unwrap_or(usize::MAX);
        ids.truncate(most.saturating_sub(self.trial.tested.len()));
        self.test_these(source, &ids, comparison)
    }

    /// Tests some candidates, until something fits and enough was tested.
    pub(super) fn test_these(
        &mut self,
        source: &'static str,
        ids: &[u32],
        comparison: &mut Comparison<'_>,
    ) -> Result<(), InvertError> {
        let decoder = comparison.inverter.decoder;
        self.hypothesis.cache(decoder, comparison.target, &mut comparison.cost)?;
        let before = self.trial.tested.len();
        for batch in ids.chunks(comparison.batch(self.hypothesis.len())) {
            let tested = self.trial.tested.len() - before;
            if tested > 0 && (self.is_satisfied(comparison) || comparison.watch.is_up()) {
                break;
            }
            // The cache is taken out to look at the branch between batches.
            let cache = self.hypothesis.cache_as_is(decoder, comparison.target)?;
            self.trial.test(batch, cache, source, Phase::Recover, comparison)?;
        }
        self.origins.push((source, self.trial.tested.len() - before));
        Ok(())
    }

    /// Returns the name of the source or stage that proposed a candidate.
    pub(super) fn origin(&self, candidate: Ranked) -> &'static str {
        let place = self.trial.tested.place(candidate.id);
        let mut end = 0;
        let by_batch = self.origins.iter().find(|(_, count)| {
            end += count;
            place.is_some_and(|place| place < end)
        });
        by_batch.map_or("scan", |(source, _)| source)
    }
}
