//! The folder of calibrations: measured once, and read again by later runs.

use std::fs;

use inject_sipit::{
    Calibration, Inverter,
    models::{FloatFormat, NumberFormat},
};

use super::Options;
use crate::{options::LoadedModel, outcome::Failure};

/// The number formats in which producers may have computed.
const FORMATS: [NumberFormat; 6] = [
    NumberFormat::Float(FloatFormat::Bf16),
    NumberFormat::Float(FloatFormat::F16),
    NumberFormat::Int8,
    NumberFormat::Int4,
    NumberFormat::Nf4,
    NumberFormat::Fp4,
];

/// Reads the calibrations for the tap of an inverter, if a folder is given.
///
/// # Errors
///
/// [`Failure`] if a file is damaged, or was measured with other weights.
pub(super) fn read(options: &Options, model: &LoadedModel, inverter: &Inverter<'_>) -> Result<(), Failure> {
    let Some(folder) = &options.calibrations else { return Ok(()) };
    fs::create_dir_all(folder).map_err(Failure::io("create", folder))?;
    let d_model = model.decoder.config().d_model;
    for format in FORMATS {
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
