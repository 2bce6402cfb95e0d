//! What the programs share: the choice of a model and a device, and how errors reach the user.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

mod load;
mod outcome;

pub use self::{
    load::{ModelArgs, bundled_model},
    outcome::{Failure, finish, say},
};
