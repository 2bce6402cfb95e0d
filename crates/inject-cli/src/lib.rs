//! The program `inject`, as a library for its own tests.
//!
//! The one idea: a subcommand is a struct of checked options and a function that returns an [`Outcome`] or a [`Failure`].
//! Everything else is shared: the groups of options, the [`plot`]s, the [`report`]s, the reports of progress, and the way
//! a run ends.
//!
//! This library has no stable interface. To build on the project, use its library crates.

mod begun;
mod bundled;
mod command;
mod compare_policies;
mod depth;
mod device;
mod extract;
#[cfg(feature = "hub")]
mod fetch;
mod forward;
mod interrupt;
mod invert;
mod inverter;
mod lens;
mod lenses;
mod number;
mod options;
mod outcome;
mod output;
mod panics;
mod progress;
mod random_model;
mod random_tokens;
#[cfg(test)]
mod schema;
mod sizes;
mod spread;
mod study;
mod table;
mod text_file;
mod threads;
mod token;
mod train_tiny;
mod unfinished;
mod without_effect;

pub mod plot;
pub mod report;

#[doc(hidden)]
pub use self::invert::text_before;
pub use self::{
    command::{Cli, main, run},
    outcome::{Failure, Outcome},
};
