//! The recovery of one prompt, from its states to its tokens.

use std::cell::OnceCell;

use crate::{
    collisions::Ranked,
    error::InvertError,
    hypothesis::{Abandoned, Hypothesis, Settled},
    inversion::{Inversion, Kept, Position, Producer, Verdict},
    models::Progress,
    policy::{PromptSearch, Searcher},
    settings::Scan,
    sources::{Provisional, Tested},
    target::TargetStates,
};

use super::{Inverter, certify::certify, comparison::Comparison, doubt::Factor};

/// The recovery of one prompt, up to the positions settled so far.
pub(super) struct Recovery<'r, 'p> {
    pub(super) comparison: Comparison<'r>,
    pub(super) search: PromptSearch<'r>,
    pub(super) searcher: &'r Searcher<'p>,
    /// The states that sources see once the noise of the producer is known.
    pub(super) quiet: &'r OnceCell<TargetStates>,
    /// Whether the noise of the producer was asked for.
    pub(super) calibration_tried: bool,
    /// Whether the unit and the tap were doubted.
    pub(super) doubted: bool,
    /// The position and the nearest token there when weights rounded in a known way were tried.
    pub(super) rounded_at: Option<(usize, u32)>,
    /// Whether other weights were tried as noise too.
    pub(super) weights_doubted: bool,
    /// The part of the prompt that rounded weights gave before a position failed. It is the result if the whole vocabulary fails without
    /// them, unless their noise explains the states.
    pub(super) refuted: Option<Inversion>,
    /// The prompt that other weights gave. The recovery is then over.
    pub(super) by_other_weights: Option<Inversion>,
    /// The factor of all states, if they turned out to have one. The recovery then begins again without it.
    pub(super) factor: Option<Factor>,
    /// The hypotheses that stand, all of one length. There is always one at least.
    pub(super) beam: Vec<Hypothesis>,
    pub(super) abandoned: Abandoned,
    /// Distances that drafts showed at the open positions.
    pub(super) seen: Provisional,
    /// The candidates that drafts tested at the first open position.
    pub(super) tested: Tested,
    pub(super) stopped: Option<Stopped>,
}

/// The position at which a recovery stopped.
pub(super) struct Stopped {
    pub(super) verdict: Verdict,
    /// The nearest candidate, if any was tested.
    pub(super) nearest: Option<Kept>,
    pub(super) candidates_tested: usize,
}

impl<'r, 'p> Recovery<'r, 'p> {
    pub(super) fn begin(
        inverter: &'r Inverter<'r>,
        target: &'r TargetStates,
        searcher: &'r Searcher<'p>,
        quiet: &'r OnceCell<TargetStates>,
        progress: &'r dyn Fn(Progress<'_>),
    ) -> Result<Self, InvertError> {
        let mut hypothesis = Hypothesis::default();
        target.given().iter().for_each(|&token| hypothesis.give(token));
        let mut recovery = Recovery {
            comparison: Comparison::begin(inverter, target, progress)?,
            search: searcher.begin(target)?,
            searcher,
            quiet,
            calibration_tried: false,
            doubted: false,
            rounded_at: None,
            weights_doubted: false,
            refuted: None,
            by_other_weights: None,
            factor: None,
            beam: vec![hypothesis],
            abandoned: Abandoned::default(),
            seen: Provisional::default(),
            tested: Tested::new(),
            stopped: None,
        };
        recovery.calibrate_if_stated()?;
        Ok(recovery)
    }

    /// The number of positions settled so far.
    pub(super) fn settled(&self) -> usize {
        self.beam[0].len()
    }

    /// Returns the number of positions of the prompt.
    pub(super) fn positions(&self) -> usize {
        self.comparison.target.positions()
    }

    /// Whether every position is settled, or the recovery stopped.
    pub(super) fn is_complete(&self) -> bool {
        let begins_anew = self.factor.is_some() || self.by_other_weights.is_some();
        self.stopped.is_some() || begins_anew || self.settled() == self.positions()
    }

    /// Chooses the best hypothesis, by the model's expectation where the states do not decide. Resolves its ambiguous positions, and certifies
    /// it if that is asked for.
    pub(super) fn conclude(mut self) -> Result<Inversion, InvertError> {
        self.beam.sort_by(|a, b| a.strain().total_cmp(&b.strain()));
        self.prefer_expected()?;
        let mut best = self.beam.remove(0);
        let alive: Vec<Vec<u32>> = self.beam.iter().map(Hypothesis::ids).collect();
        self.abandoned.resolve(&mut best.positions, &alive);
        if self.comparison.inverter.settings.scan == Scan::Whole {
            certify(&mut best, &mut self.comparison)?;
        }
        withdraw_chance(&mut best.positions);
        self.order_alternatives(&mut best.positions)?;
        let settled = best.positions.into_iter().enumerate();
        let mut positions: Vec<Position> =
            settled.map(|(at, position): (usize, Settled)| position.at(at)).collect();
        if let Some(Stopped { verdict, nearest, candidates_tested }) = self.stopped {
            let (position, ruled_out) = (positions.len(), Vec::new());
            positions.push(Position { position, verdict, kept: nearest, candidates_tested, ruled_out });
        }
        for position in positions.len()..self.comparison.target.positions() {
            let verdict = open(&self.seen, position);
            let (candidates_tested, ruled_out) = (0, Vec::new());
            positions.push(Position { position, verdict, kept: None, candidates_tested, ruled_out });
        }
        let transformation = self.comparison.target.transformation().clone();
        let producer = self.comparison.producer.map(|noise| Producer::Noise(noise.calibration.format()));
        Ok(Inversion { positions, transformation, producer, cost: self.comparison.cost })
    }
}

/// Withdraws what chance may have verified. After a token that is not settled, the prefix may be wrong; where the evidence is weak,
/// some token fits after a wrong prefix too.
fn withdraw_chance(positions: &mut [Settled]) {
    let mut doubtful = false;
    for settled in positions {
        let Settled::Found(position) = settled else {
            // A wrong token may have been given.
            doubtful = true;
            continue;
        };
        if doubtful && position.weak && position.verdict.is_verified() {
            let Kept { token_id: id, distance, .. } = position.kept;
            position.verdict = Verdict::Ambiguous { candidates: vec![Ranked { id, distance }], more: true };
        }
        doubtful |= !position.verdict.is_verified();
    }
}

/// Returns the verdict `Open`, with the nearest token that drafts computed at the position.
pub(super) fn open(seen: &Provisional, position: usize) -> Verdict {
    Verdict::Open { guess: seen.at(position).first().map(|nearest| nearest.id) }
}
