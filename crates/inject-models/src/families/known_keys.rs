//! The keys of config files against those that transformers reads, as `tests/fixtures/known_keys.py` lists them.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value, json};

use super::{
    Described, Family,
    announced::{Announced, announced},
    describe,
    without_influence::WITHOUT_INFLUENCE,
};
use crate::{config::DecoderConfig, error::ModelError, note::Note};

/// A fixture of each class of configs.
const CASES: &[(&str, &str)] = &[
    ("gpt2", "gpt2"),
    ("gpt_neo", "gpt-neo"),
    ("llama", "llama"),
    ("mistral", "mistral"),
    ("gemma3_text", "gemma3-old"),
    ("gemma3", "gemma3-multimodal"),
    ("phi3", "phi3"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("gemma2", "gemma2"),
    ("gpt_neox", "gpt-neox"),
    ("smollm3", "smollm3"),
    ("olmo2", "olmo2"),
];

#[test]
fn every_model_type_is_compared_with_transformers() {
    let known: BTreeSet<&str> =
        Family::all().iter().flat_map(|family| family.model_types()).copied().collect();
    let compared: BTreeSet<&str> = CASES.iter().map(|(model_type, _)| *model_type).collect();
    assert_eq!(known, compared);
}

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn config(case: &str) -> Map<String, Value> {
    read(&fixtures().join(case).join("config.json")).as_object().unwrap().clone()
}

fn described(config: &Map<String, Value>) -> Result<Described, ModelError> {
    describe(Path::new("config.json"), &serde_json::to_string(config).unwrap())
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|key| key.as_str().unwrap())
}

fn unread(notes: &[Note]) -> BTreeSet<&str> {
    let lists = notes.iter().filter_map(|note| match note {
        Note::UnreadKeys { keys } => Some(keys),
        _ => None,
    });
    lists.flatten().map(String::as_str).collect()
}

#[test]
fn every_key_that_transformers_reads_is_read_or_known_to_be_without_influence() {
    let table = read(&fixtures().join("known_keys.json"));
    for (class, case) in CASES {
        for key in strings(&table["base"]).chain(strings(&table["classes"][class]["keys"])) {
            // No key has this value. One that is read is refused for it, unless its value may be anything.
            let mut config = config(case);
            config.insert(key.to_owned(), json!({"no such": "value"}));
            if let Ok(described) = described(&config) {
                assert!(!unread(&described.notes).contains(key), "{class}: `{key}` is read by transformers");
            }
        }
    }
}

#[test]
fn a_key_is_either_announced_or_without_influence() {
    for key in WITHOUT_INFLUENCE {
        assert_eq!(announced(key, &json!("no such value")), Announced::Unknown, "{key}");
    }
}

#[test]
fn a_missing_key_has_the_default_of_its_class() {
    let table = read(&fixtures().join("known_keys.json"));
    let parsed = |config: &Map<String, Value>| DecoderConfig::parse(&serde_json::to_string(config).unwrap());
    let mut compared = 0;
    for (class, case) in CASES {
        for (key, default) in table["classes"][class]["defaults"].as_object().unwrap() {
            let (mut without, mut with) = (config(case), config(case));
            without.remove(key);
            with.insert(key.clone(), default.clone());
            // Sizes have no default here: one that is missing is better named than guessed.
            if let (Ok(without), Ok(with)) = (parsed(&without), parsed(&with)) {
                assert_eq!(without, with, "{class}: `{key}` is {default} by default");
                compared += 1;
            }
        }
    }
    assert!(compared > 80, "{compared}");
}

#[test]
fn a_value_that_changes_the_states_of_transformers_changes_the_description_or_is_refused() {
    let table = read(&fixtures().join("known_keys.json"));
    let mut compared = 0;
    for (class, entry) in table["classes"].as_object().unwrap() {
        let base = entry["base"].as_object().unwrap();
        let expected = described(base).unwrap().description.config;
        for change in entry["changing"].as_array().unwrap() {
            let (key, value) = (change[0].as_str().unwrap(), &change[1]);
            let mut config = base.clone();
            let settings = match config.get_mut("text_config") {
                Some(Value::Object(text)) => text,
                _ => &mut config,
            };
            settings.insert(key.to_owned(), value.clone());
            if let Ok(described) = described(&config) {
                assert_ne!(described.description.config, expected, "{class}: `{key}` is {value}");
            }
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn a_kind_of_rotation_reads_the_keys_that_it_reads_in_transformers() {
    let kinds = &read(&fixtures().join("known_keys.json"))["rotary"];
    let all: BTreeSet<&str> = kinds.as_object().unwrap().values().flat_map(strings).collect();
    let plain = described(&config("llama")).unwrap().description.config;
    let pairs = plain.blocks[0].attention.rotary.as_ref().unwrap().pairs();
    let complete = json!({
        "rope_theta": 100.0, "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "short_factor": vec![1.0; pairs], "long_factor": vec![2.0; pairs]
    });
    for kind in ["default", "linear", "llama3", "longrope"] {
        let known: BTreeSet<&str> = strings(&kinds[kind]).collect();
        for key in &all {
            let mut settings = complete.clone();
            settings["rope_type"] = json!(kind);
            settings[*key] = json!({"no such": "value"});
            let mut config = config("llama");
            config.insert("rope_parameters".to_owned(), settings);
            let full = format!("rope_parameters.{key}");
            match described(&config) {
                // A share announces another computation where whole heads rotate, whatever the kind.
                Err(error) => {
                    assert!(known.contains(key) || *key == "partial_rotary_factor", "{kind}: {error}");
                    assert!(error.to_string().contains(&full), "{kind}: {error}");
                }
                Ok(described) => {
                    assert!(!known.contains(key), "{kind}: `{key}` is read by transformers");
                    let is_noted = unread(&described.notes).contains(full.as_str());
                    // transformers writes this one beside every kind.
                    assert!(is_noted || *key == "original_max_position_embeddings", "{kind}: {key}");
                }
            }
        }
    }
}

#[test]
fn what_transformers_saves_for_the_defaults_of_a_class_loads_without_a_note() {
    let table = read(&fixtures().join("known_keys.json"));
    let classes = table["classes"].as_object().unwrap();
    assert!(classes.len() >= CASES.len());
    for (class, entry) in classes {
        let saved = entry["saved"].as_object().unwrap();
        let described = described(saved).unwrap_or_else(|error| panic!("{class}: {error}"));
        assert_eq!(described.notes, [], "{class}");
    }
}

#[test]
fn a_key_that_nobody_reads_is_noted_at_every_level() {
    for (_, case) in CASES {
        let mut config = config(case);
        config.insert("unsloth_fixed".to_owned(), json!(true));
        config.insert("transformers.js_config".to_owned(), json!({"dtype": "q4"}));
        config.insert("nothing".to_owned(), json!(null));
        let mut expected = BTreeSet::from(["transformers.js_config", "unsloth_fixed"]);
        for (outer, key) in [("text_config", "text_config.wild"), ("rope_parameters", "rope_parameters.wild")]
        {
            if let Some(Value::Object(inner)) = config.get_mut(outer) {
                inner.insert("wild".to_owned(), json!(1));
                expected.insert(key);
            }
        }
        let described = described(&config).unwrap();
        assert_eq!(unread(&described.notes), expected, "{case}");
        let text = described.notes[0].to_string();
        assert!(text.contains("transformers.js_config, unsloth_fixed") && !text.contains('\n'), "{text}");
    }
}
