//! The table of families and formats in docs/checkpoints.md, against the fixtures that it names.

use std::{collections::BTreeSet, fs, path::Path};

use inject_models::{Family, FloatFormat, Model, Origin};
use serde_json::Value;

use crate::fixture;

/// The formats, in the order of their columns after the names of a family.
const FORMATS: [&str; 6] = ["safetensors", "pickled", "GGUF", "bitsandbytes", "FP8", "LoRA"];

/// The texts between grave accents.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The format in which the weights of a fixture are stored, and its model.
fn stored(name: &str) -> (&'static str, Origin) {
    let place = fixture::folder(name);
    if name.starts_with("gguf/") {
        return ("GGUF", Origin::of_folder(&place.with_extension("gguf")));
    }
    if name.starts_with("adapters/") {
        let settings = json(&place.join("adapter_config.json"));
        let base = settings["base_model_name_or_path"].as_str().unwrap();
        return ("LoRA", Origin::of_folder(&fixture::folder(base)).with_adapter(&place));
    }
    let method = json(&place.join("config.json"))["quantization_config"]["quant_method"].clone();
    let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name());
    let is_pickled = names.into_iter().any(|name| name.to_string_lossy().ends_with(".bin"));
    let format = match method.as_str() {
        Some("bitsandbytes") => "bitsandbytes",
        Some(_) => "FP8",
        None if is_pickled => "pickled",
        None => "safetensors",
    };
    (format, Origin::of_folder(&place))
}

#[test]
fn the_table_of_families_and_formats_names_the_fixtures_there_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checkpoints.md");
    let text = fs::read_to_string(docs).unwrap();
    let rows = text.lines().skip_while(|line| !line.contains("| bitsandbytes | FP8 | LoRA |")).skip(2);
    let (mut families, mut named) = (BTreeSet::new(), BTreeSet::new());
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let model_types: Vec<&str> = quoted(cells[1]).collect();
        assert_eq!(cells.len(), 2 + FORMATS.len(), "{row}");
        for (format, cell) in FORMATS.iter().zip(&cells[2..]) {
            let allowed = ["equal", "read", "refused"].contains(cell) || cell.starts_with('`');
            assert!(allowed, "{format}: {cell}");
            for name in quoted(cell) {
                let (found, origin) = stored(name);
                assert_eq!(found, *format, "{name}");
                let device = inject_testing::any_device();
                let family = Model::load(origin, FloatFormat::F32, &device).unwrap().family();
                assert!(model_types.contains(&family.to_string().as_str()), "{name}: {family}");
                families.insert(family.to_string());
                named.insert(name.to_owned());
            }
        }
    }
    assert_eq!(families, Family::all().iter().map(Family::to_string).collect());
    for (parent, end) in
        [("", "config.json"), ("quantised", "config.json"), ("adapters", "adapter_config.json")]
    {
        for entry in fs::read_dir(fixture::folder(parent)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().join(end).is_file() {
                let name = Path::new(parent).join(entry.file_name()).to_string_lossy().into_owned();
                assert!(named.contains(&name), "{name} is not in the table");
            }
        }
    }
}
