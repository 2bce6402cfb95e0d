//! The program from outside: what it prints, what it writes, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bundled_model;
mod depth;
mod divisions;
mod dumps;
mod endings;
mod error_chains;
mod files;
mod golden;
mod hostile_files;
mod layering;
mod packages;
#[cfg(unix)]
mod pipes;
mod random_model;
#[cfg(unix)]
mod read_only;
mod reads;
mod refusals;
mod rows;
#[cfg(unix)]
mod schedulers;
mod schema;
mod shares;
mod store;
mod studies;
mod support;
mod training;
mod whole_models;
mod without_tokenizer;
