//! The schemas in docs/schema are those of the types that are written.
//!
//! With `UPDATE_GOLDEN=1` the files are written instead.

use std::{
    fs,
    path::{Path, PathBuf},
};

use inject_sipit::states::durable::checksum_member;
use inject_studies::{
    StudyName, between_models::BetweenModels, corpus::CorpusStudy, decoding::DecodingStudy,
    exhaustive::ExhaustiveStudy, formats::FormatStudy, lengths::LengthStudy, margins::MarginStudy,
    recovery::RecoveryStudy, repeats::RepeatStudy, stress::StressStudy,
};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;

use crate::{compare_policies, depth, invert, study};

fn check<T: JsonSchema>(name: &str, title: &str) {
    check_members::<T>(name, title, &[]);
}

/// Checks the schema of a file of a study, which has a checksum beside the members of its type.
fn check_file<T: JsonSchema>(name: &str, title: &str) {
    let description = "The XXH3 of the file without this member, which is its last one. The JSON on standard output has none.";
    let checksum = serde_json::json!({ "description": description, "type": "string" });
    check_members::<T>(name, title, &[(checksum_member::NAME, checksum)]);
}

fn check_members<T: JsonSchema>(name: &str, title: &str, more: &[(&str, Value)]) {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let mut value = schema.to_value();
    without_links(&mut value);
    for (name, member) in more {
        value["properties"][*name] = member.clone();
    }
    // The type writes its keys in the usual order.
    let schema = Schema::try_from(value).unwrap();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let folder = folder();
    let path = folder.join(name).with_extension("schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).is_ok_and(|found| found == text), "{} is out of date", path.display());
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema")
}

/// Removes the targets of links in descriptions: they are those of rustdoc.
fn without_links(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => *text = without_targets(text),
                    other => without_links(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_links),
        _ => {}
    }
}

/// A text with [`name`] and [`name`](target) as `name`.
fn without_targets(text: &str) -> String {
    let Some((before, rest)) = text.split_once("[`") else { return text.to_owned() };
    let Some((name, after)) = rest.split_once("`]") else { return text.to_owned() };
    let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
    // A target such as `name()` holds a pair of parentheses itself.
    let after = target.map_or(after, |(_, after)| after.strip_prefix(')').unwrap_or(after));
    format!("{before}`{name}`{}", without_targets(after))
}

#[test]
fn links_become_names() {
    let text = "The result of [`a`](super::a()). See [`b`] and [`c`](d), (or not).";
    assert_eq!(without_targets(text), "The result of `a`. See `b` and `c`, (or not).");
}

#[test]
fn the_schemas_in_docs_are_up_to_date() {
    check::<invert::Report>("invert", "inject invert --json");
    check::<invert::Tally>("invert-store", "inject invert --states STORE --json");
    check::<invert::Record>(
        "invert-store-line",
        "a line of inject invert --states STORE --out FILE, after the first",
    );
    check_file::<depth::Depth>("depth", "inject depth --json");
    check_file::<compare_policies::Comparison>("compare-policies", "inject compare-policies --json");
    check_file::<CorpusStudy>("corpus", "corpus.json of inject study collisions");
    check::<BetweenModels>("between-models", "between_models.json of inject study collisions --against");
    check_file::<MarginStudy>("margins", "margins.json of inject study margins");
    check_file::<LengthStudy>("lengths", "lengths.json of inject study margins");
    check_file::<ExhaustiveStudy>("exhaustive", "exhaustive.json of inject study exhaustive");
    check_file::<StressStudy>("stress", "stress.json of inject study stress");
    check_file::<RepeatStudy>("repeats", "repeats.json of inject study stress");
    check_file::<FormatStudy>("formats", "formats.json of inject study precision");
    check_file::<DecodingStudy>("decoding", "decoding.json of inject study precision");
    check_file::<RecoveryStudy>("recovery", "recovery.json of inject study precision");
    check_file::<study::Trainings>("training", "training.json of inject study training");
    check_file::<study::Starts>("degenerate", "degenerate.json of inject study training");
    check_file::<study::Drawn>("random-weights", "random-weights.json of inject study training");
    for name in StudyName::ALL {
        let path = folder().join(name.as_str()).with_extension("schema.json");
        assert!(path.exists(), "the results of {name} have no schema");
    }
}
