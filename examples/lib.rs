//! The folder of the small model that ships with the project, for all examples.

use std::path::Path;

/// Returns the checkpoint folder of the small model. Any other checkpoint folder works too.
pub fn model_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/inject-cli/model"))
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
