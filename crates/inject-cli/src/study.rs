//! The studies by name.

mod collisions;
mod exhaustive;
mod margins;
mod precision;
mod stress;
mod training;

pub(crate) use self::training::{Drawn, Starts, Trainings};

use clap::Subcommand;
use inject_sipit::{
    models::Tap,
    states::store::{Positions, StoreSpec},
};
use inject_studies::tap_distances::Quantile;

use crate::{
    options::{LoadedModel, PromptOptions},
    outcome::{Failure, Outcome},
};

/// The studies, as subcommands of `inject study`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Collisions(Box<collisions::Options>),
    Margins(Box<margins::Options>),
    Exhaustive(Box<exhaustive::Options>),
    Stress(Box<stress::Options>),
    Precision(Box<precision::Options>),
    Training(Box<training::Options>),
}

/// Runs a study.
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

/// The description of a store of last states of this model.
///
/// # Errors
///
/// [`Failure`] if the weights cannot be read for their hash, or the model has no tokenizer.
fn spec_of(model: &LoadedModel, prompts: &PromptOptions, taps: Vec<Tap>) -> Result<StoreSpec, Failure> {
    let d_model = model.decoder.config().d_model;
    let mut spec = StoreSpec::new(model.id(), model.weight_hash()?, taps, Positions::Last, d_model);
    if prompts.prompt_ids.is_none() {
        spec = spec.with_tokenizer(model.tokenizer()?, prompts.bos, prompts.adds_bos(model)?);
    }
    spec.revision.clone_from(&model.origin().revision);
    spec = spec.computed_by(&model.decoder);
    Ok(spec)
}

/// The value that a share of some values does not exceed, if it is known.
fn quantile(quantiles: &[Quantile], share: f64) -> Option<f64> {
    Quantile::upper_at(quantiles, share)
}
