//! The schemas in docs/schema are those of the types that are written.
//!
//! With `UPDATE_GOLDEN=1` the files are written instead.

use std::{fs, path::Path};

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::{compare_policies, depth, invert};

/// Which units of a study the results contain. Those of one part of it, or of a merge that lacks a part, are incomplete.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "stands for the type of inject-studies, which has no schema")]
pub(crate) struct Completeness {
    /// Whether the results contain every unit.
    complete: bool,
    /// The number of units of the whole study.
    units: usize,
    /// The missing units, as the journal names them.
    missing: Vec<serde_json::Value>,
}

fn check<T: JsonSchema>(name: &str, title: &str) {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    let path = folder.join(name).with_extension("schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).is_ok_and(|found| found == text), "{} is out of date", path.display());
}

#[test]
fn the_schemas_in_docs_are_up_to_date() {
    check::<invert::Report>("invert", "inject invert --json");
    check::<invert::Tally>("invert-store", "inject invert --states STORE --json");
    check::<invert::Record>(
        "invert-store-line",
        "a line of inject invert --states STORE --out FILE, after the first",
    );
    check::<depth::Depth>("depth", "inject depth --json");
    check::<compare_policies::Comparison>("compare-policies", "inject compare-policies --json");
}
