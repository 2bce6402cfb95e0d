//! The short way from states to a prompt.

use crate::{
    error::InvertError,
    inversion::Inversion,
    inverter::Inverter,
    models::{Model, Progress},
    policy::PolicyChoice,
    settings::Settings,
    target::TargetStates,
};

/// Recovers a prompt with default settings and the policy that is expected to cost least without a lens.
///
/// # Errors
///
/// As [`Inverter::new`] and [`Inverter::invert`].
///
/// # Example
///
/// See the [crate documentation](crate).
pub fn recover(
    model: &Model,
    target: &TargetStates,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Inversion, InvertError> {
    let inverter = Inverter::new(&model.decoder, target.tap(), Settings::new())?;
    let choice =
        PolicyChoice::auto(&model.decoder, target.tap(), target.positions(), None, model.first_token());
    inverter.invert(target, &mut inverter.searcher(&choice.policy), progress)
}
