//! The certificate: the whole vocabulary at every position, after the recovered prefix.

use crate::{
    collisions::Ranked,
    error::InvertError,
    hypothesis::{Found, Hypothesis, Settled},
    inversion::Verdict,
    sources::Tested,
};

use super::{
    Inverter,
    comparison::{Comparison, Phase},
    trial::Trial,
};

/// The cost of a scan of the whole vocabulary at every position.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScanCost {
    /// The number of candidate states to compute.
    pub candidates: u64,
    /// Floating-point operations of the matrix products, two for each weight.
    pub flop: f64,
}

impl Inverter<'_> {
    /// Returns the cost that [`Scan::Whole`](crate::settings::Scan::Whole) adds for a prompt of this length.
    pub fn scan_cost(&self, positions: usize) -> ScanCost {
        let candidates = positions as u64 * self.decoder.config().vocab_size as u64;
        ScanCost { candidates, flop: candidates as f64 * self.decoder.config().flops_per_token(self.tap) }
    }
}

/// Tests the whole vocabulary at every settled position, and sharpens or withdraws its verdict. The token is never changed here,
/// because all later positions rest on it. When the time is up, the remaining positions keep their verdicts.
pub(super) fn certify(
    hypothesis: &mut Hypothesis,
    comparison: &mut Comparison<'_>,
) -> Result<(), InvertError> {
    let decoder = comparison.inverter.decoder;
    let whole = hypothesis.cache(decoder, comparison.target, &mut comparison.cost)?.clone();
    for (at, settled) in hypothesis.positions.iter_mut().enumerate() {
        let Settled::Found(position) = settled else { continue };
        if position.verdict == Verdict::Failed {
            continue;
        }
        if position.candidates_tested < comparison.vocab_size() {
            let mut cache = whole.clone();
            cache.truncate(at);
            let mut trial = Trial::at(at, Tested::new(), comparison);
            loop {
                let ids = trial.next_of_scan(comparison);
                if ids.is_empty() {
                    break;
                }
                if comparison.watch.is_up() {
                    return Ok(());
                }
                trial.test(&ids, &cache, "scan", Phase::Certify, comparison)?;
            }
            judge(position, &trial, comparison);
        }
        sharpen(position);
    }
    Ok(())
}

/// Rewrites the verdict of a position by a test of the whole vocabulary.
fn judge(position: &mut Found, trial: &Trial, comparison: &Comparison<'_>) {
    let (kept, tested) = (position.kept, &trial.tested);
    let own = trial.floor(comparison);
    let (floor, fitting, more) = match kept.noise_floor > own {
        // A position that was accepted after its own noise was measured keeps that wider floor.
        true => {
            let wider = kept.noise_floor;
            (wider, tested.ranking().within(wider), tested.others_within(wider))
        }
        false => (own, tested.fitting(), tested.more_fit()),
    };
    let mut fitting = fitting.to_vec();
    let known = fitting.iter().find(|ranked| ranked.id == kept.token_id);
    let distance = known.map_or(kept.distance, |ranked| ranked.distance);
    if more && fitting.iter().all(|ranked| ranked.id != kept.token_id) {
        fitting.push(Ranked { id: kept.token_id, distance });
    }
    position.kept = trial.kept(Ranked { id: kept.token_id, distance }, floor, kept.found_by);
    position.candidates_tested = tested.len();
    position.verdict = match fitting.iter().all(|ranked| ranked.id == kept.token_id) {
        true => Verdict::Verified,
        false => Verdict::Ambiguous { candidates: fitting, more },
    };
}

/// A verified position whose whole vocabulary was tested is certain if its margin leaves no room for the noise.
fn sharpen(position: &mut Found) {
    let alone = position.verdict == Verdict::Verified && position.ruled_out.is_empty();
    let kept = position.kept;
    if alone && kept.margin.is_none_or(|margin| margin > 2.0 * kept.noise_floor) {
        position.verdict = Verdict::Certain;
    }
}
