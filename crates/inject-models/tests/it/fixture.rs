//! The reference models and the files that hold their states.

use std::collections::HashSet;

use burn::tensor::Device;
use inject_models::{Family, FloatFormat, Model, Origin};
/// One small model of each family.
pub(crate) use inject_testing::models::FAMILIES as ONE_PER_FAMILY;
pub(crate) use inject_testing::{
    golden::{distance, golden, ids, norm, tolerance, values},
    models::folder,
};

pub(crate) fn load(case: &str, precision: FloatFormat, device: &Device) -> Model {
    Model::load(Origin::of_folder(&folder(case)), precision, device)
        .unwrap_or_else(|error| panic!("{case}: {error}"))
}

/// Checks that a list of fixtures has one of each family.
pub(crate) fn check_families<'a>(cases: impl IntoIterator<Item = &'a str>) {
    let device = inject_testing::any_device();
    let found: HashSet<Family> =
        cases.into_iter().map(|case| load(case, FloatFormat::F32, &device).family()).collect();
    for family in Family::all() {
        assert!(found.contains(family), "no fixture of {family}");
    }
}
