//! Two missing states in succession.

use crate::{
    collisions::Ranked,
    error::InvertError,
    inversion::{Kept, Position, Verdict},
    inverter::Inverter,
    models::Progress,
    policy::Searcher,
    states::prompt_states,
    tuning::{GAP_ALL_PAIRS, GAP_PAIR_FIRST, GAP_PAIR_NEXT, GAP_PAIR_SECOND},
};

use super::{Bridge, bridged::Bridged};

impl Inverter<'_> {
    /// Looks for the tokens in a gap of two positions: the first among those that the model expects, the second among those that the
    /// sources propose after it. The state after both decides.
    ///
    /// The first is ambiguous even if the pair fits, because most pairs are not tested.
    pub(super) fn bridge_pair(
        &self,
        bridged: &mut Bridged,
        searcher: &Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Bridge, InvertError> {
        let firsts = self.fillers(&bridged.target, &bridged.ids, GAP_PAIR_FIRST, progress)?;
        let mut nexts: Option<Vec<u32>> = None;
        let mut found = None;
        for (tried, &first) in firsts.iter().enumerate() {
            if bridged.watch.is_up() {
                break;
            }
            let mut after = self.with_first(bridged, first)?;
            // The token after the gap depends little on those within.
            let nexts = match &nexts {
                Some(nexts) => nexts,
                None => {
                    let mut likely = self.likely_after(&mut after, searcher, progress)?;
                    if self.decoder.config().vocab_size > GAP_ALL_PAIRS {
                        likely.truncate(GAP_PAIR_NEXT);
                    }
                    &*nexts.insert(likely)
                }
            };
            let bridge = self.bridge_to(&mut after, nexts, GAP_PAIR_SECOND, searcher, progress);
            (bridged.cost, bridged.watch) = (after.cost.clone(), after.watch);
            let Bridge::Fits(second, fitting) = bridge? else { continue };
            let Some(kept) = second.kept else { continue };
            let verified = second.verdict.is_verified();
            let position = first_of_pair(second.position - 1, first, kept, tried + 1);
            let pair = (position, after.target, second, fitting);
            if verified {
                found = Some(pair);
                break;
            }
            found.get_or_insert(pair);
        }
        let Some((position, target, second, fitting)) = found else { return Ok(Bridge::Open) };
        bridged.ids.extend(position.token_id());
        bridged.target = target;
        bridged.positions.push(position);
        Ok(Bridge::Fits(second, fitting))
    }

    /// The prompt with a token in the first position of a gap.
    fn with_first(&self, bridged: &Bridged, first: u32) -> Result<Bridged, InvertError> {
        let gap = bridged.ids.len();
        let ids = [&bridged.ids[..], &[first]].concat();
        let states = prompt_states(self.decoder, &ids, self.tap)?.to_f64();
        let target = bridged.target.clone().filled(gap, states.row(gap).to_vec());
        let Bridged { producer, watch, .. } = *bridged;
        Ok(Bridged { target, ids, positions: Vec::new(), producer, cost: bridged.cost.clone(), watch })
    }
}

/// The first position of a gap of two. It was compared by the state that decided on the second.
fn first_of_pair(position: usize, token_id: u32, second: Kept, tried: usize) -> Position {
    let candidates = vec![Ranked { id: token_id, distance: second.distance }];
    Position {
        position,
        verdict: Verdict::Ambiguous { candidates, more: true },
        kept: Some(Kept { token_id, runner_up: None, margin: None, ..second }),
        candidates_tested: tried,
        ruled_out: Vec::new(),
    }
}
