//! The promises of the crate, on every device compiled in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod dumps;
mod extract;
mod foreign;
mod hostile_files;
mod named;
mod store;
