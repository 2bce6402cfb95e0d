//! Groups of options that subcommands share. Each is checked while it is read.

mod available;
mod cache;
mod format;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod out;
pub(crate) mod policy;
pub(crate) mod prompts;
pub(crate) mod room;
pub(crate) mod study;
pub(crate) mod taps;

pub(crate) use self::{
    format::FileFormat,
    memory::Megabytes,
    model::{DeviceOptions, LoadedModel, ModelOptions},
    out::OutputFolder,
    policy::{PolicyKind, PolicyOptions},
    prompts::PromptOptions,
    study::StudyOptions,
    taps::{TapOption, TapOrAutoOption, TapsOption},
};
