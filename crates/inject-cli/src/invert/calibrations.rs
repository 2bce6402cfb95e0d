//! The folder of calibrations: measured once, and read again by later runs.

use std::fs;

use inject_sipit::{Calibration, Inverter, models::NumberFormat, settings::ComputedIn};

use super::{Arrangement, Options};
use crate::{options::LoadedModel, outcome::Failure};

/// Refuses a folder for calibrations where no noise of a producer is estimated.
///
/// # Errors
///
/// [`Failure`] that says when it is estimated.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    let policy = &options.policy;
    let is_exact = match policy.computed_in {
        ComputedIn::Format(format) => !NumberFormat::narrow().contains(&format),
        // The order of coordinates is found in f32, unless another format is named.
        _ => options.input.arrangement() == Arrangement::Permuted,
    };
    // A search for the order of rows estimates it for itself.
    let is_bounded = policy.has_own_bound() && options.input.arrangement() != Arrangement::Shuffled;
    match options.calibrations.is_some() && (is_exact || is_bounded) {
        true => Err(Failure::usage(
            "--calibrations needs an estimate of the noise of a narrow format, and none is made with --epsilon, --allclose, --noise or \
             --computed-in f32, nor with --coordinates permuted unless --computed-in names such a format",
        )),
        false => Ok(()),
    }
}

/// Reads the calibrations for the tap of an inverter, if a folder is given.
///
/// # Errors
///
/// [`Failure`] if a file is damaged, or was measured with other weights.
pub(super) fn read(options: &Options, model: &LoadedModel, inverter: &Inverter<'_>) -> Result<(), Failure> {
    let Some(folder) = &options.calibrations else { return Ok(()) };
    fs::create_dir_all(folder).map_err(Failure::io("create", folder))?;
    let d_model = model.decoder.config().d_model;
    for &format in NumberFormat::narrow() {
        if let Some(known) = Calibration::load(folder, inverter.tap(), format, model.weight_hash()?, d_model)?
        {
            inverter.know(known);
        }
    }
    Ok(())
}

/// Writes the calibrations that were measured, if a folder is given.
///
/// # Errors
///
/// [`Failure`] if a file cannot be written.
pub(super) fn write(options: &Options, model: &LoadedModel, inverter: &Inverter<'_>) -> Result<(), Failure> {
    let Some(folder) = &options.calibrations else { return Ok(()) };
    for known in inverter.known_calibrations() {
        if !folder.join(Calibration::file_name(known.tap(), known.format())).exists() {
            known.save(folder, model.weight_hash()?)?;
        }
    }
    Ok(())
}
