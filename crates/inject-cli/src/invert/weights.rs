//! The weights that the producer of the states used.

use inject_sipit::{
    Settings, TargetStates,
    models::{Decoder, Model, NumberFormat},
    settings::ComputedIn,
    with_weights_of_producer,
};

use crate::{outcome::Failure, output::note};

/// The weights to invert with, and the settings for them.
pub(super) struct Weights {
    rounded: Option<Decoder>,
    pub(super) settings: Settings,
}

impl Weights {
    /// Rounds the weights of the model as the producer did, if the option names a format of weights and the states fit them.
    pub(super) fn of_producer(
        model: &Model,
        settings: Settings,
        target: impl FnOnce() -> Result<TargetStates, Failure>,
    ) -> Result<Self, Failure> {
        if let ComputedIn::Auto | ComputedIn::Format(NumberFormat::Float(_)) = settings.computed_in {
            return Ok(Weights { rounded: None, settings });
        }
        let rounded = with_weights_of_producer(&model.decoder, &target()?, &settings, model.first_token())?;
        let settings = match (&rounded, settings.computed_in) {
            (Some(_), ComputedIn::Format(format)) => {
                note(&format!("the states fit weights rounded to {format}"));
                settings.with_computed_in(ComputedIn::Auto)
            }
            _ => settings,
        };
        Ok(Weights { rounded, settings })
    }

    /// The decoder to invert with.
    pub(super) fn decoder<'a>(&'a self, model: &'a Model) -> &'a Decoder {
        self.rounded.as_ref().unwrap_or(&model.decoder)
    }
}
