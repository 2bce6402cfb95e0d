//! The doubt about the tap, where nothing fits the first state.

use std::time::Instant;

use crate::{
    error::InvertError,
    likely_tap::another_tap,
    settings::TapCheck,
    tuning::{TAP_DOUBTED, TAP_OTHERS, TAP_SAMPLE},
};

use super::{recovery::Recovery, repair::Branch};

impl Recovery<'_, '_> {
    /// Tries other taps once, if many candidates were tested at the first position and none fits.
    pub(super) fn doubt_tap(&mut self, branches: &[Branch]) -> Result<(), InvertError> {
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let TapCheck::WhereNothingFits { begins } = inverter.settings.tap_check else { return Ok(()) };
        let many = TAP_DOUBTED.min(self.comparison.vocab_size());
        let nothing_fits = |branch: &Branch| {
            let tested = &branch.trial.tested;
            branch.trial.at == target.given().len() && tested.len() >= many && tested.fitting().is_empty()
        };
        if self.tap_doubted || branches.is_empty() || !branches.iter().all(nothing_fits) {
            return Ok(());
        }
        self.tap_doubted = true;
        let start = Instant::now();
        let likely = another_tap(inverter.decoder, target, begins, &inverter.settings, TAP_OTHERS)?;
        self.comparison.cost.stage("tap").add_states(TAP_SAMPLE, 1.0, start.elapsed().as_secs_f64());
        match likely {
            Some(likely) => Err(InvertError::OtherTap { given: target.tap(), likely }),
            None => Ok(()),
        }
    }
}
