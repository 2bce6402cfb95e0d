//! The certificate: the whole vocabulary at every position, behind the prompt recovered.

use std::time::Instant;

use inject_collisions::Ranked;

use super::{Inverter, Phase, Run, step::candidate_states, verify::other};
use crate::{InvertError, Position, Tested, Verdict, hypothesis::Hypothesis};

/// What a scan of the whole vocabulary at every position costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanCost {
    /// Candidates to compute.
    pub candidates: u64,
    /// Floating-point operations of the matrix products, two for each weight.
    pub flop: f64,
}

impl Inverter<'_> {
    /// What [`Scan::Whole`](crate::Scan::Whole) adds for a prompt of this length.
    pub fn scan_cost(&self, positions: usize) -> ScanCost {
        let candidates = positions as u64 * self.decoder.config().vocab_size as u64;
        ScanCost { candidates, flop: candidates as f64 * self.decoder.config().flops_per_token(self.tap) }
    }

    /// Tests the whole vocabulary at every settled position, and sharpens or withdraws its verdict. The token is never
    /// changed here: all later positions rest on it. When the time is up, the positions not reached keep their verdicts.
    pub(super) fn certify(&self, hypothesis: &mut Hypothesis, run: &mut Run<'_>) -> Result<(), InvertError> {
        let whole = hypothesis.cache(self.decoder, run.target, &mut run.cost)?.clone();
        for at in 0..hypothesis.len() {
            let position = &hypothesis.positions[at];
            if matches!(position.verdict, Verdict::Failed | Verdict::Open) {
                continue;
            }
            if position.candidates_tested == self.decoder.config().vocab_size {
                sharpen(&mut hypothesis.positions[at]);
                continue;
            }
            let mut cache = whole.clone();
            cache.truncate(at);
            let wanted = run.target.state(at);
            let kept = position.token_id;
            let yardstick = self.yardstick(run, at, 0.0);
            let mut tested = Tested::new();
            let mut next = 0;
            loop {
                let ids = self.next_of_scan(&tested, &mut next, at);
                if ids.is_empty() {
                    break;
                }
                if self.time_is_up(run) {
                    return Ok(());
                }
                let start = Instant::now();
                let states = candidate_states(self.decoder, &cache, &ids, self.tap)?;
                for (&id, state) in ids.iter().zip(states.chunks(run.target.d_model())) {
                    tested.compare(id, state, &yardstick, wanted);
                }
                run.cost.stage("scan").add_batch(ids.len(), start.elapsed().as_secs_f64());
                self.report(run, Phase::Certify, at, tested.len());
            }
            let position = &mut hypothesis.positions[at];
            let own = yardstick.floor(wanted);
            let (floor, fitting, more) = match position.noise_floor > own {
                // A position that was accepted after its own noise was measured keeps that wider floor.
                true => {
                    let wider = position.noise_floor;
                    (wider, tested.ranking().within(wider), tested.others_within(wider))
                }
                false => (own, tested.fitting(), tested.more_fit()),
            };
            let mut fitting = fitting.to_vec();
            let distance =
                fitting.iter().find(|ranked| ranked.id == kept).map_or(position.distance, |r| r.distance);
            if more && fitting.iter().all(|ranked| ranked.id != kept) {
                fitting.push(Ranked { id: kept, distance });
            }
            position.distance = distance;
            position.noise_floor = floor;
            position.candidates_tested = tested.len();
            position.runner_up = other(&tested, kept);
            position.margin = position.runner_up.map(|runner_up| runner_up.distance - distance);
            position.verdict = match fitting.iter().all(|ranked| ranked.id == kept) {
                true => Verdict::Verified,
                false => Verdict::Ambiguous { candidates: fitting, more },
            };
            sharpen(position);
        }
        Ok(())
    }
}

/// A verified position whose whole vocabulary was tested is certain if its margin leaves no room for the noise.
fn sharpen(position: &mut Position) {
    let alone = position.verdict == Verdict::Verified && position.ruled_out.is_empty();
    if alone && position.margin.is_none_or(|margin| margin > 2.0 * position.noise_floor) {
        position.verdict = Verdict::Certain;
    }
}
