//! `tokenizer.json` with other files beside it, against the ids that transformers gives.

use std::fs;

use inject_models::{Bos, Model, ModelError, Note};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{fixture, malformed::Checkpoint};

fn json_of(path: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture::folder(path)).unwrap()).unwrap()
}

/// A folder with one of the two tokenizers, parts of it replaced, and other files beside it.
fn folder(tokenizer: &Value, parts: &Value, files: &Value) -> TempDir {
    let mut tokenizer = match tokenizer.as_str().unwrap() {
        "spaces" => json_of("tokenizer-json/spaces.json"),
        _ => json_of("byte-level/tokenizer.json"),
    };
    tokenizer.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    for (name, contents) in files.as_object().unwrap() {
        // A text keeps the order of its keys.
        let text = contents.as_str().map_or_else(|| contents.to_string(), str::to_owned);
        fs::write(place.path().join(name), text).unwrap();
    }
    place
}

fn model() -> Model {
    Checkpoint::copy_of("llama").with_key("vocab_size", 330).with_rows(330).load().unwrap()
}

/// The notes beside those on BOS.
fn notes(model: &Model) -> Vec<&Note> {
    model.notes().iter().filter(|note| !matches!(note, Note::OtherBos { .. })).collect()
}

#[test]
fn the_files_beside_a_tokenizer_json_count_as_in_transformers() {
    let fixture = json_of("tokenizer-json/ids.json");
    let (texts, cases) = (fixture["texts"].as_array().unwrap(), fixture["cases"].as_array().unwrap());
    assert!(texts.len() > 4 && cases.len() > 50);
    let model = model();
    for case in cases {
        let place = folder(&case["tokenizer"], &case["parts"], &case["files"]);
        let model = model.clone().with_tokenizer(place.path()).unwrap();
        for (text, ids) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            let found = model.tokenizer().unwrap().encode(text.as_str().unwrap(), Bos::Auto).unwrap();
            assert_eq!(
                &serde_json::to_value(&found).unwrap(),
                ids,
                "{text}: {} {} {}",
                case["class"],
                case["parts"],
                case["files"]
            );
        }
        // A class with other cuts is not followed silently.
        let class = case["class"].as_str().unwrap();
        let (code, notes): (Vec<_>, Vec<_>) =
            notes(&model).into_iter().partition(|note| matches!(note, Note::OwnTokenizerCode { .. }));
        let names_code =
            case["files"]["tokenizer_config.json"].as_str().is_some_and(|text| text.contains("tok.X"));
        assert_eq!(code.len(), usize::from(names_code), "{case}");
        match notes.as_slice() {
            [] => {}
            [Note::PartsReplaced { class: named, parts }] => {
                assert!(named == class && !parts.is_empty(), "{notes:?}");
            }
            _ => panic!("{class}: {notes:?}"),
        }
    }
}

#[test]
fn a_class_that_does_not_follow_tokenizer_json_is_noted_with_the_parts() {
    let digits = json!({"pre_tokenizer": {"type": "Digits", "individual_digits": true}});
    let begins = json!({"post_processor": {"type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "e", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"e": {"id": "e", "ids": [0], "tokens": ["e"]}}}});
    let nothing = json!({});
    let cases: [(&str, &str, &Value, &[&str]); 6] = [
        ("byte-level", "GPT2TokenizerFast", &nothing, &[]),
        ("byte-level", "GPT2Tokenizer", &digits, &["pre_tokenizer"]),
        ("byte-level", "Qwen2Tokenizer", &nothing, &["normalizer", "pre_tokenizer"]),
        ("byte-level", "GPTNeoXTokenizer", &begins, &["normalizer", "post_processor"]),
        ("byte-level", "PreTrainedTokenizerFast", &digits, &[]),
        ("spaces", "LlamaTokenizer", &digits, &["pre_tokenizer"]),
    ];
    for (tokenizer, class, parts, expected) in cases {
        let files = json!({"tokenizer_config.json": {"tokenizer_class": class}});
        let place = folder(&tokenizer.into(), parts, &files);
        let model = model().with_tokenizer(place.path()).unwrap();
        match (notes(&model).as_slice(), expected) {
            ([], []) => {}
            ([note @ Note::PartsReplaced { parts, .. }], expected) => {
                assert_eq!(parts, expected, "{class}");
                assert!(note.to_string().contains(&expected.join(", ")), "{note}");
            }
            (notes, _) => panic!("{class}: {notes:?}"),
        }
    }
}

#[test]
fn merges_that_are_left_out_at_random_are_refused() {
    let with = |dropout: f64| {
        let mut model = json_of("tokenizer-json/spaces.json")["model"].take();
        model["dropout"] = json!(dropout);
        let files = json!({"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}});
        self::model().with_tokenizer(folder(&"spaces".into(), &json!({ "model": model }), &files).path())
    };
    assert!(with(0.0).is_ok());
    let error = with(0.5).unwrap_err();
    assert!(
        std::error::Error::source(&error).unwrap().to_string().contains("`model.dropout` is 0.5"),
        "{error:?}"
    );
}

#[test]
fn a_class_that_is_not_known_or_does_not_fit_is_noted_and_the_file_counts() {
    let text = "The fox was in the garden of 12 foxes.";
    for (tokenizer, class) in
        [("byte-level", "CodeGenTokenizer"), ("byte-level", "GemmaTokenizer"), ("spaces", "GPT2Tokenizer")]
    {
        let ids = |class: &str| {
            let files = json!({"tokenizer_config.json": {"tokenizer_class": class}});
            let model = model().with_tokenizer(folder(&tokenizer.into(), &json!({}), &files).path()).unwrap();
            let ids = model.tokenizer().unwrap().encode(text, Bos::Auto).unwrap();
            (ids, notes(&model).into_iter().cloned().collect::<Vec<_>>())
        };
        let (found, noted) = ids(class);
        let (alone, nothing) = ids("PreTrainedTokenizerFast");
        assert_eq!(found, alone, "{class}");
        assert_eq!(noted, [Note::OtherTokenizerClass { class: class.to_owned() }]);
        assert_eq!(nothing, []);
    }
}

#[test]
fn code_of_the_tokenizers_own_is_noted_and_its_class_is_not_taken_for_one_of_transformers() {
    for (auto_map, named) in [
        (json!({"AutoTokenizer": ["tok.Slow", null]}), Some("tok.Slow")),
        (json!({"AutoTokenizer": ["tok.Slow", "tok.Fast"]}), Some("tok.Fast")),
        (json!(["tok.Slow", null]), Some("tok.Slow")),
        (json!({"AutoTokenizer": null}), None),
        (json!({"AutoConfig": "configuration.X"}), None),
    ] {
        let files = json!({"tokenizer_config.json": {"tokenizer_class": "Slow", "auto_map": auto_map}});
        let model = model().with_tokenizer(folder(&"byte-level".into(), &json!({}), &files).path()).unwrap();
        let expected = match named {
            Some(class) => Note::OwnTokenizerCode { class: class.to_owned() },
            None => Note::OtherTokenizerClass { class: "Slow".to_owned() },
        };
        assert_eq!(notes(&model), [&expected], "{auto_map}");
        // Another tokenizer has no such code.
        let other = folder(&"byte-level".into(), &json!({}), &json!({}));
        assert_eq!(notes(&model.with_tokenizer(other.path()).unwrap()), Vec::<&Note>::new());
    }
}

#[test]
fn a_file_for_the_release_of_transformers_counts_in_the_place_of_tokenizer_json() {
    let text = "The fox was in the garden.";
    let ids = |place: &TempDir| {
        model().with_tokenizer(place.path()).unwrap().tokenizer().unwrap().encode(text, Bos::No).unwrap()
    };
    let plain =
        |files: &[&str]| json!({"tokenizer_class": "PreTrainedTokenizerFast", "fast_tokenizer_files": files});
    let spaces = json_of("tokenizer-json/spaces.json");
    let with = |listed: &[&str], file: &str| {
        folder(
            &"byte-level".into(),
            &json!({}),
            &json!({"tokenizer_config.json": plain(listed), file: spaces}),
        )
    };
    let both = ["tokenizer.json", "tokenizer.4.0.0.json"];
    let (of_json, of_version) = (
        ids(&with(&[], "other.json")),
        ids(&folder(&"spaces".into(), &json!({}), &json!({"tokenizer_config.json": plain(&[])}))),
    );
    assert_ne!(of_json, of_version);
    assert_eq!(ids(&with(&both, "tokenizer.4.0.0.json")), of_version);
    assert_eq!(ids(&with(&["tokenizer.json", "tokenizer.6.0.0.json"], "tokenizer.6.0.0.json")), of_json);
    // The file itself can be given.
    let place = with(&both, "tokenizer.4.0.0.json");
    let file = model().with_tokenizer(&place.path().join("tokenizer.json")).unwrap();
    assert_eq!(file.tokenizer().unwrap().encode(text, Bos::No).unwrap(), of_json);
    // One that is selected and missing is named: transformers does not fall back on tokenizer.json either.
    let error = model().with_tokenizer(with(&both, "other.json").path()).unwrap_err();
    assert!(
        matches!(&error, ModelError::Read { path, .. } if path.ends_with("tokenizer.4.0.0.json")),
        "{error:?}"
    );
}

#[test]
fn a_tokenizer_config_that_cannot_be_read_is_named() {
    let place = folder(&"byte-level".into(), &json!({}), &json!({}));
    let path = place.path().join("tokenizer_config.json");
    for (contents, expected) in [
        ("{", "EOF"),
        (r#"{"added_tokens_decoder": {"one": {"content": "x"}}}"#, "added_tokens_decoder: invalid"),
    ] {
        fs::write(&path, contents).unwrap();
        let error = model().with_tokenizer(place.path()).unwrap_err();
        assert!(matches!(&error, ModelError::Json { path: named, .. } if *named == path), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(expected), "{source}");
    }
}

/// The unknown token of `GemmaTokenizer` is the special token of that name. transformers 5.24 gives these ids.
#[test]
fn the_unknown_token_of_gemma_is_the_one_that_the_files_name() {
    let vocabulary =
        json!({"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 4, "b": 5, "\u{2581}": 6, "<mask>": 7});
    let special = |(id, content): (usize, &str)| json!({"id": id, "content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false});
    let added: Vec<Value> =
        ["<pad>", "<eos>", "<bos>", "<unk>"].into_iter().enumerate().map(special).collect();
    for (of_model, named, unknown) in [
        (json!(null), json!({}), 3),
        (json!("<unk>"), json!({}), 3),
        (json!("<unk>"), json!({"unk_token": "<pad>"}), 0),
        (json!("<pad>"), json!({}), 3),
    ] {
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
            "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
            "post_processor": null,
            "decoder": null,
            "model": {
                "type": "BPE", "unk_token": of_model, "fuse_unk": true, "byte_fallback": true, "vocab": vocabulary, "merges": []
            }
        });
        let mut config = json!({"tokenizer_class": "GemmaTokenizer"});
        config.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        fs::write(place.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let model = model().with_tokenizer(place.path()).unwrap();
        let found = model.tokenizer().unwrap().encode("a \u{e9} b", Bos::No).unwrap();
        assert_eq!(found, [4, 6, unknown, 6, 5], "{of_model} {named}");
    }
}
