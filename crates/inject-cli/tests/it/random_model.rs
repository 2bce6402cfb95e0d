//! `inject random-model`: the folder is a checkpoint like any other, and another run writes the same bytes.

use std::{fs, path::Path};

use super::support::{refused, succeed};

const CONFIG: &str = r#"{ "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
    "num_hidden_layers": 3, "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": 300,
    "initializer_range": 0.3, "tie_word_embeddings": false }"#;

fn with_config() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shape.json"), CONFIG).unwrap();
    folder
}

#[test]
fn states_of_random_weights_are_extracted_and_inverted_by_ids() {
    let dir = with_config();
    let dir = dir.path();
    for format in ["bf16", "f16", "f32"] {
        let made = succeed(dir, &format!("random-model --like shape.json --format {format} --out {format}"));
        assert!(made.out.contains("there is no tokenizer"), "{}", made.out);
        succeed(
            dir,
            &format!(
                "extract --model {format} --ids 7,8,9,250 --taps block-2 --positions all --out {format}-states"
            ),
        );
        succeed(dir, &format!("invert --model {format} --ids 7,8,9,250 --tap block-2"));
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes_whatever_the_threads() {
    let dir = with_config();
    let dir = dir.path();
    let weights = |options: &str, name: &str| {
        succeed(dir, &format!("random-model --like shape.json {options} --out {name}"));
        fs::read(dir.join(name).join("model.safetensors")).unwrap()
    };
    let first = weights("--seed 5", "a");
    assert_eq!(first, weights("--seed 5", "b"));
    assert_ne!(first, weights("--seed 6", "c"));
}

#[test]
fn a_folder_in_use_and_what_cannot_be_drawn_are_refused() {
    let dir = with_config();
    let dir = dir.path();
    succeed(dir, "random-model --like shape.json --out made");
    let check = |arguments: &[&str], status: i32, parts: &[&str]| {
        refused(dir, &[&["random-model"], arguments].concat(), status, parts);
    };
    check(&["--like", "shape.json", "--out", "made"], 2, &["made", "expected a new or empty folder"]);
    check(&["--like", "gpt3", "--out", "new"], 2, &["unknown shape `gpt3`", "llama-3.1-8b"]);
    check(&["--like", "gpt2", "--format", "f64", "--out", "new"], 2, &["'f64'", "f32, f16, bf16"]);
    check(&["--like", "no.json", "--out", "new"], 1, &["cannot read no.json"]);
    check(&["--like", "shape.json", "--out", "shape.json"], 2, &["expected a folder, found a file"]);
    assert!(!Path::new(dir).join("new").exists());
}
