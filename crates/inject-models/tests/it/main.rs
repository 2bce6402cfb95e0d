//! The promises of the crate, on every device compiled in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod adapters;
mod decoder;
mod documented;
mod fixture;
mod gguf;
#[cfg(feature = "gradient")]
mod gradients;
mod held;
mod hostile_files;
#[cfg(feature = "hub")]
mod hub;
mod lying_there;
mod malformed;
mod parity;
mod quantise;
mod quantised;
mod real_models;
mod sentence_piece;
mod settled;
mod tokenizer_json;
