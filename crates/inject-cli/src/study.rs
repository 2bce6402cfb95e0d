//! The studies by name.

mod collisions;
mod exhaustive;
mod margins;
mod precision;
mod stress;
mod training;

use clap::Subcommand;

use crate::{Failure, Outcome};

/// A study.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Collisions(Box<collisions::Options>),
    Margins(Box<margins::Options>),
    Exhaustive(Box<exhaustive::Options>),
    Stress(Box<stress::Options>),
    Precision(Box<precision::Options>),
    Training(Box<training::Options>),
}

/// Carries out a study.
///
/// # Errors
///
/// [`Failure`] if it cannot be done.
pub(crate) fn run(study: &Command) -> Result<Outcome, Failure> {
    match study {
        Command::Collisions(options) => collisions::run(options)?,
        Command::Margins(options) => margins::run(options)?,
        Command::Exhaustive(options) => exhaustive::run(options)?,
        Command::Stress(options) => stress::run(options)?,
        Command::Precision(options) => precision::run(options)?,
        Command::Training(options) => training::run(options)?,
    }
    Ok(Outcome::Complete)
}
