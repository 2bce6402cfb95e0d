//! The promises of the crate, on every device compiled in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod beam;
mod certify;
mod changed_rows;
mod choice;
mod computed_in;
mod deep_random;
mod drafts;
mod evidence;
mod exhaustive;
mod fixture;
mod forged;
mod gaps;
#[cfg(feature = "gradient")]
mod gradient;
mod hostile_files;
mod injectivity;
mod lens;
mod many;
mod noise;
mod numbers;
mod permuted;
mod policies;
mod producers;
mod shuffled;
mod small;
mod sources;
mod transfers;
mod transformed;
