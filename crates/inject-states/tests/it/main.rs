//! What the crate promises, over every device compiled in.

mod extract;
mod foreign;
mod store;
