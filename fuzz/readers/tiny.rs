//! The small model of the readers. It is compiled in, because the targets and the tests of a crate lie at different depths.

use std::fs;

use burn::tensor::Device;
use tempfile::TempDir;

use super::{FloatFormat, Model, Origin};

/// Loads the model from a folder of its own.
pub fn model() -> (TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    // Stores hold the name of the folder.
    let tiny = folder.path().join("tiny");
    fs::create_dir(&tiny).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(tiny.join(name), bytes).unwrap();
    write("config.json", include_bytes!("../../crates/inject-states/tests/fixtures/tiny/config.json"));
    write(
        "model.safetensors",
        include_bytes!("../../crates/inject-states/tests/fixtures/tiny/model.safetensors"),
    );
    let model = Model::load(Origin::of_folder(&tiny), FloatFormat::F32, &Device::flex()).unwrap();
    (folder, model)
}
