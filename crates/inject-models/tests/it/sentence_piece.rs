//! Files of SentencePiece against the ids that SentencePiece itself gives.

use std::{collections::BTreeMap, fs, path::PathBuf};

use inject_models::{Bos, Note};
use serde_json::{Value, json};

use crate::{fixture, malformed::Checkpoint};

/// More than any of the files has.
const ROWS: usize = 500;

fn path(file: &str) -> PathBuf {
    fixture::folder("sentence-piece").join(file).with_extension("model")
}

fn bytes(file: &str) -> Vec<u8> {
    fs::read(path(file)).unwrap()
}

fn plain() -> Checkpoint {
    Checkpoint::copy_of("llama").with_key("vocab_size", ROWS).with_rows(ROWS)
}

fn with(bytes: impl AsRef<[u8]>) -> Checkpoint {
    plain().with_file("tokenizer.model", bytes)
}

#[test]
fn texts_have_the_ids_that_the_library_gives_them() {
    let file = fixture::folder("sentence-piece").join("tokens.json");
    let cases: BTreeMap<String, Vec<(String, Vec<u32>)>> =
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(cases.keys().map(String::as_str).collect::<Vec<_>>(), ["gemma", "llama", "unigram"]);
    for (file, texts) in cases {
        let found = with(bytes(&file)).load().unwrap();
        let named = plain().load().unwrap().with_tokenizer(&path(&file)).unwrap();
        for model in [found, named] {
            let tokenizer = model.tokenizer().unwrap();
            for (text, expected) in &texts {
                assert_eq!(&tokenizer.encode(text, Bos::Auto).unwrap(), expected, "{file}: {text:?}");
                // The unigram model changes texts and has no bytes for what is not a piece.
                if file != "unigram" {
                    assert_eq!(&tokenizer.decode(expected).unwrap(), text, "{file}");
                }
            }
        }
    }
}

#[test]
fn the_files_beside_a_model_count_as_in_transformers() {
    let file = fixture::folder("sentence-piece").join("beside.json");
    let fixture: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let (texts, cases) = (fixture["texts"].as_array().unwrap(), fixture["cases"].as_array().unwrap());
    assert!(texts.len() > 10 && cases.len() > 30);
    let model = plain().load().unwrap();
    for case in cases {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, contents: &[u8]| fs::write(place.path().join(name), contents).unwrap();
        write("tokenizer.model", &bytes(case["model"].as_str().unwrap()));
        write("config.json", json!({ "model_type": case["model_type"] }).to_string().as_bytes());
        if !case["config"].is_null() {
            write("tokenizer_config.json", case["config"].to_string().as_bytes());
        }
        let model = model.clone().with_tokenizer(place.path()).unwrap();
        for (text, expected) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            let ids = model.tokenizer().unwrap().encode(text.as_str().unwrap(), Bos::Auto).unwrap();
            assert_eq!(&serde_json::to_value(&ids).unwrap(), expected, "{text:?} {case}");
        }
    }
}

/// These classes merge pieces by the order of their ids. A unigram model has no merges.
#[test]
fn a_class_that_does_not_fit_the_model_is_noted_and_the_file_counts() {
    let ids = |class: &str| {
        let config = json!({ "tokenizer_class": class });
        let checkpoint = with(bytes("unigram")).with_file("tokenizer_config.json", config.to_string());
        let model = checkpoint.load().unwrap();
        let ids = model.tokenizer().unwrap().encode("The cat sees the dog.", Bos::Auto).unwrap();
        (ids, model.notes().to_vec())
    };
    let (alone, nothing) = ids("PreTrainedTokenizerFast");
    assert_eq!(nothing, []);
    for class in ["LlamaTokenizer", "T5Tokenizer"] {
        let noted = vec![Note::OtherTokenizerClass { class: class.to_owned() }];
        assert_eq!(ids(class), (alone.clone(), noted));
    }
}

#[test]
fn the_ends_of_a_text_are_what_the_tokenizer_config_says() {
    for (bos, eos, expected) in [
        (true, false, vec![1, 2]),
        (false, false, vec![2]),
        (false, true, vec![2, 2]),
        (true, true, vec![1, 2, 2]),
    ] {
        let config = json!({ "add_bos_token": bos, "add_eos_token": eos });
        let model = with(bytes("llama"))
            .with_key("bos_token_id", 1)
            .with_file("tokenizer_config.json", config.to_string())
            .load()
            .unwrap();
        let ids = model.tokenizer().unwrap().encode("</s>", Bos::Auto).unwrap();
        assert_eq!(ids, expected);
        assert!(
            !model.notes().iter().any(|note| matches!(note, Note::OtherBos { .. })),
            "{:?}",
            model.notes()
        );
    }
}

/// The ids are those of transformers' `LlamaTokenizer` with the same setting.
#[test]
fn a_text_begins_with_a_space_unless_the_tokenizer_config_says_otherwise() {
    for (says, expected) in [
        (json!({}), vec![271, 338, 377, 288, 382, 377]),
        (json!({ "add_prefix_space": null }), vec![271, 338, 377, 288, 382, 377]),
        (json!({ "add_prefix_space": false }), vec![393, 259, 338, 377, 288, 382, 377]),
    ] {
        let mut says = says;
        says["tokenizer_class"] = json!("LlamaTokenizer");
        let model = with(bytes("llama")).with_file("tokenizer_config.json", says.to_string()).load().unwrap();
        let tokenizer = model.tokenizer().unwrap();
        assert_eq!(tokenizer.encode("The cat sat", Bos::Auto).unwrap(), expected, "{says}");
        assert_eq!(tokenizer.decode(&expected).unwrap(), "The cat sat", "{says}");
    }
}

/// Configs of early conversions of Llama 1 call token 0 BOS, and their tokenizer calls it token 1.
#[test]
fn another_bos_in_the_config_does_not_hide_that_of_the_tokenizer() {
    let config = json!({ "add_bos_token": true, "bos_token": { "content": "<s>" } });
    let model = with(bytes("llama"))
        .with_key("bos_token_id", 0)
        .with_file("tokenizer_config.json", config.to_string())
        .load()
        .unwrap();
    assert_eq!(model.tokenizer().unwrap().encode("</s>", Bos::Auto).unwrap(), [1, 2]);
    assert!(model.notes().is_empty(), "{:?}", model.notes());
}

#[test]
fn a_file_is_known_by_its_ending() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["spiece.model", "tokenizer.model", "tokenizer.model.v3"] {
        let place = folder.path().join(name);
        fs::write(&place, bytes("llama")).unwrap();
        let model = plain().load().unwrap().with_tokenizer(&place).unwrap();
        assert_eq!(model.tokenizer().unwrap().vocab_size(), 430, "{name}");
    }
}

#[test]
fn added_tokens_follow_the_pieces() {
    let model =
        with(bytes("llama")).with_file("added_tokens.json", json!({ "<new>": 430 }).to_string()).load();
    let ids = model.unwrap().tokenizer().unwrap().encode("<new>", Bos::No).unwrap();
    assert_eq!(ids, [430]);
    with(bytes("llama"))
        .with_file("added_tokens.json", json!({ "<new>": 431 }).to_string())
        .tokenizer_error("added_tokens.json", &["`<new>` is 431", "expected 430"]);
}

/// The bytes of a field of a message.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(number < 16 && value.len() < 128);
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

/// A file of one piece of each text and type, and what stands after them.
fn file(pieces: &[(&str, u8)], more: &[Vec<u8>]) -> Vec<u8> {
    let piece =
        |(text, kind): &(&str, u8)| field(1, &[field(1, text.as_bytes()), vec![3 << 3, *kind]].concat());
    pieces.iter().map(piece).chain(more.iter().cloned()).flatten().collect()
}

#[test]
fn a_malformed_file_is_refused_for_its_reason() {
    let sound = [("<unk>", 2), ("a", 1), ("b", 1)];
    let trainer = |settings: &[u8]| vec![field(2, settings)];
    let normaliser = |settings: &[u8]| vec![field(3, settings)];
    with(file(&sound, &[])).load().unwrap();
    for (bytes, says) in [
        (b"\xff\xff\xff".to_vec(), "expected a file of SentencePiece"),
        (file(&sound, &[])[..7].to_vec(), "expected a file of SentencePiece"),
        (file(&sound[1..], &[]), "none of 2 pieces has the type UNKNOWN"),
        (Vec::new(), "none of 0 pieces has the type UNKNOWN"),
        (file(&[("<unk>", 2), ("a", 1), ("a", 1)], &[]), "the piece `a` stands at 1 and at 2"),
        (
            file(&sound, &[field(1, &[10, 1, b'c', 2 << 3 | 5, 0, 0, 0xc0, 0x7f])]),
            "the piece `c` has the score NaN",
        ),
        (file(&sound, &trainer(&[3 << 3, 4])), "`model_type` is 4, expected 1 (unigram) or 2 (BPE)"),
        (file(&sound, &trainer(&[0xc0, 1, 1])), "`treat_whitespace_as_suffix` is true, expected false"),
        (file(&sound, &normaliser(&[5 << 3, 0])), "`escape_whitespaces` is false, expected true"),
        (
            file(&sound, &normaliser(&field(2, &[9, 0, 0, 0, 0]))),
            "announces a trie of 9 bytes in a table of 5",
        ),
        (
            file(&sound, &normaliser(&field(2, &[8, 0, 0, 0, 0, 0, 0, 0, 0]))),
            "`precompiled_charsmap` is malformed",
        ),
        (vec![b'\n'; 200_000 + (6 << 20)], "the length of the file in bytes"),
    ] {
        with(bytes).tokenizer_error("tokenizer.model", &[says]);
    }
}
