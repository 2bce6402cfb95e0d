//! Guesses of the tokens after a gap that nothing bridged.

use crate::{
    error::InvertError, inverter::Inverter, models::Progress, policy::Searcher, states::prompt_states,
    tuning::GAP_GUESSED,
};

use super::{bridged::Bridged, probing};

impl Inverter<'_> {
    /// Guesses the tokens of the states after a gap: of each state the nearest of a few hundred candidates, after tokens that the model
    /// expects in the gap. The guesses verify nothing. A missing position has none.
    pub(super) fn best_effort(
        &self,
        bridged: &mut Bridged,
        searcher: &Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Option<u32>>, InvertError> {
        let inverter = self
            .with_settings(probing(&self.settings, &bridged.target, GAP_GUESSED))?
            .with_weights_as_given();
        let (mut ids, mut target) = (bridged.ids.clone(), bridged.target.clone());
        let mut guesses = Vec::new();
        while bridged.known_after(ids.len()).is_some() && !bridged.watch.is_up() {
            let at = ids.len();
            let token = if bridged.is_missing(at) {
                guesses.push(None);
                let expected = self.fillers(&target, &ids, 1, progress)?.first().copied();
                if let Some(token) = expected {
                    let states = prompt_states(self.decoder, &[&ids[..], &[token]].concat(), self.tap)?;
                    target = target.filled(at, states.to_f64().row(at).to_vec());
                }
                expected
            } else {
                let inverter = inverter.within(&bridged.watch);
                let found = inverter.invert(&target.part(at + 1, &ids), &mut searcher.aside(), progress)?;
                bridged.cost.add(&found.cost);
                let nearest = found.positions.last().and_then(|last| last.kept).map(|kept| kept.token_id);
                guesses.push(nearest);
                nearest
            };
            match token {
                Some(token) => ids.push(token),
                None => break,
            }
        }
        Ok(guesses)
    }
}
