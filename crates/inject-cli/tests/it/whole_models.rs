//! Models with all they need in one file, and models without a head.

use std::{fs, path::PathBuf};

use crate::support::succeed;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(name)
}

/// Config, tokenizer and weights come from the file.
#[test]
fn a_gguf_file_alone_brings_prompts_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture("gguf/llama.gguf"), dir.path().join("llama.gguf")).unwrap();
    let ran = succeed(dir.path(), "invert --model llama.gguf --text ab");
    assert!(ran.out.contains("recovered: ab\n"), "{}", ran.out);
    assert!(ran.out.contains("equal to the prompt: yes"), "{}", ran.out);

    fs::write(dir.path().join("prompts.txt"), "a the ab").unwrap();
    succeed(
        dir.path(),
        "extract --model llama.gguf --prompts prompts.txt --taps block-1 --positions all --out store",
    );
    succeed(dir.path(), "invert --model llama.gguf --states store --out results");
    let results = fs::read_to_string(dir.path().join("results")).unwrap();
    assert!(results.contains(r#""text":"a the ab""#), "{results}");
}

#[test]
fn the_policy_for_a_model_without_a_head_asks_for_no_prior() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture("llama/config.json"), dir.path().join("config.json")).unwrap();
    let mut weights = fs::read(fixture("llama/model.safetensors")).unwrap();
    // A model with a value head in the place of its own, under a name of the same length.
    let (head, value_head) = (b"lm_head.weight", b"v_head.summary");
    let place = weights.windows(head.len()).position(|name| name == head).unwrap();
    weights[place..place + head.len()].copy_from_slice(value_head);
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    let ran = succeed(dir.path(), "invert --model . --tap block-1 --ids 1,5,9");
    ran.says(&["the checkpoint has no head"]);
    assert!(ran.out.contains("recovered: token ids [1, 5, 9]"), "{}", ran.out);
    assert!(ran.out.contains("(the model has no head for a prior)"), "{}", ran.out);
}
