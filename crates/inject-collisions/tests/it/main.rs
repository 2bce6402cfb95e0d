//! Answers about all pairs, compared with those of a double loop.

#![allow(missing_docs, reason = "tests are named as sentences")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod data;
mod noise_floor;
mod oracle;
mod refusals;
mod stored;
mod tiles;
