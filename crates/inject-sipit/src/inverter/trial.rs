//! Candidates at one position after one prefix, batch by batch.

use std::time::Instant;

use crate::{
    chance::{Beside, Nearness, beside, is_enough, is_enough_alone},
    collisions::{Ranked, norm},
    error::InvertError,
    hypothesis::Found,
    inversion::{Kept, Verdict},
    models::PrefixCache,
    sources::Tested,
    tuning::{
        ALONE_BY_SAMPLE, CROWDED_FIRST, MOVED_SINK_WITHIN, NEIGHBOURS_SAMPLE, SEPARATED, SEPARATED_ALONE,
        TAP_DOUBTED,
    },
    yardstick::Yardstick,
};

use super::comparison::{Comparison, Phase};

/// The test of candidates at one position after one prefix.
pub(super) struct Trial {
    pub(super) at: usize,
    pub(super) tested: Tested,
    pub(super) yardstick: Yardstick,
    /// Whether the nearest token is followed although it lies beyond the floor and others are hardly farther away.
    doubtful: bool,
    /// The next token of the scan.
    next: u32,
}

impl Trial {
    /// A test at a position that some candidates have already passed through.
    pub(super) fn at(at: usize, tested: Tested, comparison: &Comparison<'_>) -> Self {
        Trial { at, tested, yardstick: comparison.yardstick(at, None), doubtful: false, next: 0 }
    }

    /// Compares the candidates so far by another yardstick.
    pub(super) fn begin_anew(&mut self, comparison: &Comparison<'_>) {
        self.yardstick = comparison.yardstick(self.at, None);
        self.tested = self.tested.again(&self.yardstick, comparison.target.state(self.at));
        self.next = 0;
    }

    /// Accepts the nearest token beyond the floor if every other one of the whole vocabulary lies several times farther, or if
    /// all of a large sample lie much farther: the noise of the producer is estimated, and this position has more. If the others of the whole
    /// vocabulary lie less far, the nearest is followed and not verified.
    pub(super) fn accept_separated(&mut self, comparison: &Comparison<'_>) {
        if comparison.producer.is_none() || !self.tested.fitting().is_empty() {
            return;
        }
        let ranking = self.tested.ranking();
        let (Some(nearest), Some(other)) = (ranking.nearest(), ranking.runner_up()) else { return };
        let separation = |factor: f64| self.yardstick.separation(factor, comparison.target.d_model());
        let apart = if self.tested.len() >= comparison.vocab_size() {
            SEPARATED
        } else if self.is_representative(comparison) {
            ALONE_BY_SAMPLE
        } else {
            return;
        };
        if other.distance >= separation(apart) * nearest.distance {
            let (alone, ratio) = (separation(SEPARATED_ALONE), separation(SEPARATED));
            self.doubtful = other.distance < alone * nearest.distance;
            self.yardstick = self.yardstick.clone().admitting(nearest.distance, ratio);
            self.tested.remeasure(&self.yardstick, comparison.target.state(self.at));
        }
    }

    /// Follows the nearest token at an attention sink that no token fits, if the producer's weights differ: an unknown vector was added to all
    /// sinks, and it hardly changes the order of near tokens. Where right tokens usually fit, the whole vocabulary is tested first, as far as
    /// the budget goes.
    pub(super) fn follow_moved_sink(&mut self, comparison: &Comparison<'_>) {
        let state = comparison.target.state(self.at);
        let moves = comparison.producer.as_ref().is_some_and(|p| p.calibration.moves_sink(self.at, state));
        let tested = self.tested.len();
        let enough = tested >= comparison.vocab_size()
            || (tested >= CROWDED_FIRST && (self.yardstick.is_crowded() || comparison.out_of_budget(tested)));
        if !moves || !enough || !self.tested.fitting().is_empty() {
            return;
        }
        if let Some(nearest) =
            self.tested.ranking().nearest().filter(|near| is_moved_sink(near.distance, state))
        {
            self.doubtful = true;
            self.yardstick = self.yardstick.clone().admitting(nearest.distance, 1.0);
            self.tested.remeasure(&self.yardstick, state);
        }
    }

    /// Whether the nearest token is followed without being verified.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether so many tokens were tested that they stand for the others, and that the unit and the tap of the states were doubted.
    fn is_representative(&self, comparison: &Comparison<'_>) -> bool {
        let first = self.at == comparison.target.given().len();
        let wanted = if first { TAP_DOUBTED } else { NEIGHBOURS_SAMPLE };
        self.tested.len() >= wanted && comparison.others().nearness == Nearness::Usual
    }

    /// The untested tokens of the next batch of the scan, in the order of their ids. Empty at the end of the vocabulary.
    pub(super) fn next_of_scan(&mut self, comparison: &Comparison<'_>) -> Vec<u32> {
        let vocab_size = comparison.vocab_size() as u32;
        let batch = comparison.batch(self.at);
        let mut ids = Vec::with_capacity(batch);
        while self.next < vocab_size && ids.len() < batch {
            if !self.tested.contains(self.next) {
                ids.push(self.next);
            }
            self.next += 1;
        }
        ids
    }

    /// Computes the states of some candidates after the prefix in `cache`, and compares them.
    pub(super) fn test(
        &mut self,
        ids: &[u32],
        cache: &PrefixCache,
        stage: &'static str,
        phase: Phase,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), InvertError> {
        let start = Instant::now();
        let (inverter, target) = (comparison.inverter, comparison.target);
        let wanted = target.state(self.at);
        let sieved = inverter.comparing.sieves(ids.len()) && comparison.compares_as_computed();
        match sieved.then(|| self.yardstick.weights(wanted.len())).flatten() {
            Some(weights) => {
                let states = inverter.decoder.candidates(cache, ids, inverter.tap)?;
                self.sieve(ids, states, &weights, wanted)?;
            }
            None => {
                let states = comparison.candidates(cache, ids)?;
                for (&id, state) in ids.iter().zip(states.chunks(target.d_model())) {
                    self.tested.compare(id, state, &self.yardstick, wanted);
                }
            }
        }
        comparison.cost.stage(stage).add_batch(ids.len(), start.elapsed().as_secs_f64());
        comparison.report(phase, self.at, self.tested.len());
        Ok(())
    }

    /// Whether one fit is enough to settle the position: the untested tokens do not fit by chance. A device that fails says nothing of
    /// the neighbours.
    pub(super) fn is_enough(&self, comparison: &Comparison<'_>) -> bool {
        let state = comparison.target.state(self.at);
        !self.doubtful
            && is_enough(&self.yardstick, state, &self.tested, comparison.others())
            && (self.tested.len() >= comparison.vocab_size()
                || self.untested_neighbours(comparison).is_ok_and(|neighbours| neighbours.is_empty()))
    }

    /// The tokens that have to be tested before the nearest candidate that fits counts as the right one.
    pub(super) fn untested_neighbours(&self, comparison: &Comparison<'_>) -> Result<Vec<u32>, InvertError> {
        let Some(nearest) = self.tested.fitting().first() else { return Ok(Vec::new()) };
        let (inverter, state) = (comparison.inverter, comparison.target.state(self.at));
        let mut wanted =
            match beside(&self.yardstick, state, nearest.distance, &self.tested, comparison.others()) {
                Beside::Duplicates { within } => inverter.vocabulary.duplicates(nearest.id, within)?,
                Beside::Twins => inverter.neighbours(nearest.id)?.twins.clone(),
                Beside::Neighbours => {
                    let found = inverter.neighbours(nearest.id)?;
                    [&found.twins[..], &found.nearest].concat()
                }
            };
        wanted.retain(|&id| !self.tested.contains(id));
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }

    /// The distance beyond which no candidate fits.
    pub(super) fn floor(&self, comparison: &Comparison<'_>) -> f64 {
        self.yardstick.floor(comparison.target.state(self.at))
    }

    /// A tested candidate with its measurements.
    pub(super) fn kept(&self, taken: Ranked, noise_floor: f64, found_by: &'static str) -> Kept {
        let runner_up = nearest_other(&self.tested, taken.id);
        Kept {
            token_id: taken.id,
            distance: taken.distance,
            runner_up,
            margin: runner_up.map(|other| other.distance - taken.distance),
            noise_floor,
            noise: self.yardstick.origin(),
            found_by,
        }
    }

    /// The position, with a tested candidate taken.
    pub(super) fn settled(&self, kept: Kept, verdict: Verdict, comparison: &Comparison<'_>) -> Found {
        let (state, candidates_tested) = (comparison.target.state(self.at), self.tested.len());
        let other = kept.runner_up.map(|other| other.distance);
        let weak = !is_enough_alone(&self.yardstick, state, kept.distance, other, comparison.vocab_size());
        Found { verdict, kept, candidates_tested, weak, ruled_out: Vec::new() }
    }
}

/// Whether other weights may have moved a sink this far.
pub(super) fn is_moved_sink(distance: f64, state: &[f64]) -> bool {
    distance <= MOVED_SINK_WITHIN * norm(state)
}

/// The nearest candidate other than the one taken.
pub(super) fn nearest_other(tested: &Tested, id: u32) -> Option<Ranked> {
    tested.ranking().kept().iter().copied().find(|ranked| ranked.id != id)
}
