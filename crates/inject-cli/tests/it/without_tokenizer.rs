//! Models without a tokenizer.

use std::fs;

use crate::support::{refused, succeed};

#[test]
fn a_lens_is_made_from_prompts_of_ids_and_used() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    fs::remove_file(dir.path().join("model/tokenizer.json")).unwrap();
    let prompt =
        |i: u32| (0..16).map(|p| ((i * 31 + p * p * 7 + p) % 97).to_string()).collect::<Vec<_>>().join(",");
    let prompts: Vec<String> = (0..24).map(prompt).collect();
    fs::write(dir.path().join("ids.txt"), prompts.join("\n")).unwrap();
    succeed(dir.path(), "lens --model model --prompt-ids ids.txt --taps block-1 --out lenses");
    let ran =
        succeed(dir.path(), "invert --model model --lens lenses --tap block-1 --policy lens --ids 1,38,5,6");
    assert!(ran.out.contains("recovered: token ids [1, 38, 5, 6]"), "{}", ran.out);
    let arguments = ["lens", "--model", "model", "--out", "other"];
    refused(dir.path(), &arguments, 1, &["holds no tokenizer.json", "give token ids instead of text"]);
}

#[test]
fn every_program_takes_a_file_of_ids() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    fs::remove_file(dir.path().join("model/tokenizer.json")).unwrap();
    let prompt = |i: u32| (0..8).map(|p| ((i * 31 + p * p * 7 + p) % 97).to_string()).collect::<Vec<_>>();
    let prompts: Vec<String> = (0..8).map(|i| format!("{{\"ids\": [{}]}}", prompt(i).join(", "))).collect();
    fs::write(dir.path().join("ids.jsonl"), prompts.join("\n")).unwrap();
    // Some files name a token of another vocabulary.
    let config = dir.path().join("model/config.json");
    let mut outside: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    outside["bos_token_id"] = 50_256.into();
    fs::write(&config, outside.to_string()).unwrap();
    for command in [
        "extract --out store",
        "depth --taps block-1 --count 2 --lengths 4",
        "compare-policies --tap block-1 --count 2 --length 4",
        "study collisions --taps block-1 --count 8",
        "study margins --taps block-1 --count 2 --lengths 4 --per-length 4",
        "study exhaustive --tap block-1 --count 2",
        "study stress --taps block-1 --repeats 3",
        "study precision --taps block-1 --pairs-of 8 --length 4 --parts formats",
    ] {
        succeed(dir.path(), &format!("{command} --model model --prompt-ids ids.jsonl"));
    }
}

#[test]
fn ids_work_beside_a_tokenizer_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    fs::write(dir.path().join("ids.txt"), "1,2,3\n4,5,6").unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    for (tokenizer, wrong) in
        [(pointer, "is a Git LFS pointer"), ("{", "expected a tokenizer"), ("{}", "expected a tokenizer")]
    {
        fs::write(dir.path().join("model/tokenizer.json"), tokenizer).unwrap();
        for command in ["invert --tap block-1 --ids 1,38,5", "extract --prompt-ids ids.txt --out store"] {
            let ran = succeed(dir.path(), &format!("{command} --model model"));
            let notes: Vec<&str> =
                ran.err.lines().filter(|line| line.contains("the tokenizer cannot be used")).collect();
            let [note] = notes.as_slice() else { panic!("{}", ran.err) };
            assert!(note.contains(wrong) && note.contains("`--tokenizer`"), "{note}");
            assert!(
                command.starts_with("extract") || ran.out.contains("recovered: token ids [1, 38, 5]"),
                "{}",
                ran.out
            );
        }
        let arguments = ["invert", "--model", "model", "--tap", "block-1", "--text", "a"];
        refused(
            dir.path(),
            &arguments,
            1,
            &["the tokenizer cannot be used: give token ids instead of text", wrong],
        );
        fs::remove_dir_all(dir.path().join("store")).unwrap();
    }
}

#[test]
fn a_study_of_texts_says_that_it_needs_a_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    fs::remove_file(dir.path().join("model/tokenizer.json")).unwrap();
    let arguments = ["study", "stress", "--model", "model", "--count", "4"];
    refused(dir.path(), &arguments, 1, &["this study makes its prompts from texts", "`--tokenizer`"]);
}

#[test]
fn a_place_without_a_tokenizer_is_called_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("merges.txt"), "#version: 0.2\nt h\n").unwrap();
    let expected = "expected a tokenizer.json, a vocab.json with its merges.txt";
    for (place, says) in [
        ("merges.txt", "one of the two files of byte-level BPE, and vocab.json is missing beside it"),
        ("/nonexistent", "/nonexistent does not exist, and is not a Hub id owner/name[@revision]"),
        ("./nonexistent.json", "./nonexistent.json does not exist"),
        ("nonexistent", "nonexistent does not exist"),
    ] {
        let arguments = ["extract", "--tokenizer", place, "--text", "a", "--out", "out"];
        refused(dir.path(), &arguments, 1, &[says, expected]);
    }
}
