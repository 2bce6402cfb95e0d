//! What the programs share: the choice of a model, a device and prompts, figures, and how errors reach the user.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

mod forward;
mod load;
mod outcome;
mod plot;
mod policy;
mod prompts;
mod random_tokens;
mod study;

pub use self::{
    forward::forward_seconds,
    load::{ModelArgs, bundled_model},
    outcome::{Failure, finish, note, say},
    plot::{Axis, Figure, Mark, distinct},
    policy::{PolicyArgs, PolicyKind, beginning, lens_for},
    prompts::PromptArgs,
    random_tokens::RandomTokens,
    study::{StudyArgs, spec_of},
};
