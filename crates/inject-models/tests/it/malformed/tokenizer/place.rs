//! Places that are named for a tokenizer, with and without one.

use std::path::Path;

use inject_models::tokenizer::NoTokenizerHere;

use super::*;

/// The error for a place that is named for a model, and for one that is loaded.
fn refused(place: &Path, says: &[&str]) -> (NoTokenizerHere, Option<std::path::PathBuf>) {
    let checkpoint = Checkpoint::copy_of("llama");
    let origin = inject_models::Origin::of_folder(checkpoint.folder.path()).with_tokenizer(place);
    let loaded = Model::load(origin, inject_models::Precision::default(), &burn::tensor::Device::flex());
    let error = loaded.map(|_| ()).expect_err("a tokenizer");
    let text = error.to_string();
    for part in
        [&[place.to_str().unwrap(), "expected a tokenizer.json, a vocab.json with its merges.txt"], says]
            .concat()
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let other = checkpoint.load().unwrap().with_tokenizer(place).map(|_| ()).expect_err("a tokenizer");
    assert_eq!(other.to_string(), text);
    match error {
        ModelError::NotATokenizer { found, instead, .. } => (found, instead),
        other => panic!("{other:?}"),
    }
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn either_file_of_byte_level_bpe_names_both() {
    let from = fixture::folder("byte-level");
    let [vocab, merges] = ["vocab.json", "merges.txt"].map(|name| fs::read(from.join(name)).unwrap());
    let both = folder(&[("vocab.json", &vocab), ("merges.txt", &merges)]);
    let model = || Checkpoint::copy_of("llama").with_key("vocab_size", 300).with_rows(300).load().unwrap();
    let hash = |place: &Path| model().with_tokenizer(place).unwrap().tokenizer().unwrap().hash().to_owned();
    assert_eq!(hash(&both.path().join("merges.txt")), hash(&both.path().join("vocab.json")));
    for (alone, bytes, missing) in
        [("vocab.json", &vocab, "merges.txt"), ("merges.txt", &merges, "vocab.json")]
    {
        let folder = folder(&[(alone, bytes)]);
        for place in [folder.path().join(alone), folder.path().to_owned()] {
            let says = format!("one of the two files of byte-level BPE, and {missing} is missing");
            assert_eq!(refused(&place, &[&says]), (NoTokenizerHere::Half { missing }, None));
        }
    }
}

#[test]
fn a_place_that_does_not_exist_is_called_that() {
    let folder = folder(&[]);
    let says = ["does not exist, and is not a Hub id"];
    assert_eq!(refused(&folder.path().join("none"), &says), (NoTokenizerHere::Nothing, None));
    assert_eq!(refused(Path::new("/nonexistent"), &says).0, NoTokenizerHere::Nothing);
}

#[test]
fn another_file_is_called_what_it_is_and_the_tokenizer_beside_it_is_named() {
    let tokenizer = words(json!({"?": 0, "one": 3}));
    for (name, bytes, expected, says) in [
        ("tokenizer_config.json", &b"{}"[..], NoTokenizerHere::Beside, "counts beside a tokenizer"),
        ("special_tokens_map.json", b"{}", NoTokenizerHere::Beside, "counts beside a tokenizer"),
        ("config.json", b"{}", NoTokenizerHere::Beside, "counts beside a tokenizer"),
        ("chat_template.jinja", b"{{ x }}", NoTokenizerHere::Beside, "counts beside a tokenizer"),
        ("tekken.json", b"{}", NoTokenizerHere::Tekken, "Mistral's own format (tekken), which is not read"),
        ("vocab.txt", b"[PAD]\n[UNK]\n", NoTokenizerHere::WordPiece, "WordPiece, which is not read"),
        ("qwen.tiktoken", b"IQ== 0\nIg== 1\n", NoTokenizerHere::Ranks, "a list of ranks (tiktoken)"),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", NoTokenizerHere::Ranks, "a list of ranks (tiktoken)"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", NoTokenizerHere::Weights, "a file of weights"),
        ("README.md", b"# A model\n", NoTokenizerHere::Other, "is not a tokenizer"),
    ] {
        let alone = folder(&[(name, bytes)]);
        assert_eq!(refused(&alone.path().join(name), &[says]), (expected.clone(), None), "{name}");
        let beside = folder(&[(name, bytes), ("tokenizer.json", tokenizer.as_bytes())]);
        let json = beside.path().join("tokenizer.json");
        let advice = format!("; give {}", json.display());
        assert_eq!(refused(&beside.path().join(name), &[says, &advice]), (expected, Some(json)), "{name}");
    }
    let empty = folder(&[("README.md", b"# A model\n")]);
    assert_eq!(refused(empty.path(), &["has no tokenizer"]), (NoTokenizerHere::Folder, None));
}

#[test]
fn a_tokenizer_json_may_have_any_other_name() {
    let folder = folder(&[("my-tokenizer", format!("\n {}", words(json!({"?": 0, "one": 3}))).as_bytes())]);
    let model = Checkpoint::copy_of("llama").load().unwrap();
    let model = model.with_tokenizer(&folder.path().join("my-tokenizer")).unwrap();
    assert_eq!(model.tokenizer().unwrap().encode("one", Bos::Auto).unwrap(), [3]);
}
