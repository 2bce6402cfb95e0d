//! Rows after a text whose last tokens may have become parts of what follows it.

use crate::{
    error::InvertError, models::silent, policy::PolicyChoice, target::TargetStates,
    tuning::BEGINNING_CANDIDATES,
};
use ndarray::s;

use super::{Inverter, gaps::probing};

impl Inverter<'_> {
    /// The number of `given` tokens that come before the first of these states: at least `settled`, and all of them if nothing shows that they
    /// are fewer. After the right ones a token fits the first state.
    ///
    /// # Errors
    ///
    /// As [`Inverter::invert`].
    pub fn tokens_before(
        &self,
        rows: &TargetStates,
        given: &[u32],
        settled: usize,
    ) -> Result<usize, InvertError> {
        if settled >= given.len() || rows.missing().contains(&0) {
            return Ok(given.len());
        }
        let inverter =
            self.with_settings(probing(&self.settings, rows, BEGINNING_CANDIDATES))?.with_weights_as_given();
        let choice = PolicyChoice::auto(self.decoder, self.tap, given.len(), None, None);
        for count in (settled..=given.len()).rev() {
            let first = rows.states().slice(s![..1, ..]).to_owned();
            let first = TargetStates::new(first, rows.tap(), rows.dtype())?
                .after(self.decoder, &given[..count])?
                .of_longer_prompt(count + rows.positions());
            let found = inverter.invert(&first, &mut inverter.searcher(&choice.policy), &mut silent)?;
            if found.is_verified() {
                return Ok(count);
            }
        }
        Ok(given.len())
    }
}
