//! Inverters, which measure the noise of their model before anything else.

use inject_sipit::{
    InvertError, Inverter, Settings,
    models::{Decoder, Tap},
};

use crate::interrupt;

/// Prepares inversion at a tap. That takes seventeen passes without a report of progress, minutes for a model that is read from the
/// disk, so a signal ends the program meanwhile.
pub(crate) fn prepared(decoder: &Decoder, tap: Tap, settings: Settings) -> Result<Inverter<'_>, InvertError> {
    interrupt::at_once(|| Inverter::new(decoder, tap, settings))
}
