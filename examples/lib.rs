//! Shared by the examples: the folder of the small model that ships with the project.

use std::path::Path;

/// Returns the small model: an ordinary checkpoint folder. Any other works too.
pub fn model_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/inject-cli/model"))
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
