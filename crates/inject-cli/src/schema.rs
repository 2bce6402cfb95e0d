//! The schemas in docs/schema are those of the types that are written.
//!
//! With `UPDATE_GOLDEN=1` the files are written instead.

use std::{fs, path::Path};

use schemars::{JsonSchema, generate::SchemaSettings};

use inject_studies::{
    BetweenModels, CorpusStudy, DecodingStudy, ExhaustiveStudy, FormatStudy, LengthStudy, MarginStudy,
    RecoveryStudy, RepeatStudy, StressStudy,
};

use crate::{compare_policies, depth, invert, study};

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
    check::<CorpusStudy>("corpus", "corpus.json of inject study collisions");
    check::<BetweenModels>("between-models", "between_models.json of inject study collisions --against");
    check::<MarginStudy>("margins", "margins.json of inject study margins");
    check::<LengthStudy>("lengths", "lengths.json of inject study margins");
    check::<ExhaustiveStudy>("exhaustive", "exhaustive.json of inject study exhaustive");
    check::<StressStudy>("stress", "stress.json of inject study stress");
    check::<RepeatStudy>("repeats", "repeats.json of inject study stress");
    check::<FormatStudy>("formats", "formats.json of inject study precision");
    check::<DecodingStudy>("decoding", "decoding.json of inject study precision");
    check::<RecoveryStudy>("recovery", "recovery.json of inject study precision");
    check::<study::Trainings>("training", "training.json of inject study training");
    check::<study::Starts>("degenerate", "degenerate.json of inject study training");
    check::<study::Drawn>("random-weights", "random-weights.json of inject study training");
}
