//! What the crate promises, over every device compiled in.

mod decoder;
mod fixture;
#[cfg(feature = "hub")]
mod hub;
mod malformed;
mod parity;
mod real_models;
