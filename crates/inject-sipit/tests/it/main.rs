//! What the crate promises, over every device compiled in.

mod exhaustive;
mod injectivity;
mod small;
