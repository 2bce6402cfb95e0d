//! Faults of tokenizer.json, and the use of a tokenizer without faults.

mod beside;
mod limits;
mod place;

use std::fs;

use inject_models::{Bos, Model, ModelError, Note, tokenizer::TokenizerLimit};
use serde_json::{Map, Value, json};

use super::Checkpoint;
use crate::fixture;

const FILE: &str = "tokenizer.json";

/// A tokenizer that knows these words, with these ids.
fn words(vocabulary: Value) -> String {
    json!({
        "version": "1.0",
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"}
    })
    .to_string()
}

#[test]
fn a_tokenizer_that_is_not_json_is_refused() {
    let error = Checkpoint::copy_of("llama")
        .with_file(FILE, "{\"version\"")
        .tokenizer_error(FILE, &["expected a tokenizer", "line 1"]);
    assert!(matches!(*error, ModelError::Tokenizer { .. }), "{error:?}");
}

#[test]
fn a_tokenizer_without_a_model_is_refused() {
    let error = Checkpoint::copy_of("llama")
        .with_file(FILE, "{}")
        .tokenizer_error(FILE, &["expected a tokenizer", "Model missing"]);
    assert!(matches!(*error, ModelError::Tokenizer { .. }), "{error:?}");
}

#[test]
fn ids_need_no_tokenizer_that_can_be_used() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    let unusable = Checkpoint::copy_of("llama").with_file(FILE, pointer);
    unusable.tokenizer_error(FILE, &["Git LFS pointer", "run `git lfs pull`"]);
    let model = unusable.load().unwrap();
    let [note] = model.notes() else { panic!("{:?}", model.notes()) };
    let text = note.to_string();
    assert!(
        text.contains("give token ids or another tokenizer (`--tokenizer`)") && !text.contains('\n'),
        "{text}"
    );
    // Another one takes its place, and the note goes.
    let other = fixture::folder("byte-level");
    let model = model.with_tokenizer(&other).unwrap();
    assert!(model.notes().iter().all(|note| !matches!(note, Note::UnusableTokenizer { .. })));
    assert!(model.tokenizer().is_ok());
    // One that is named must be usable.
    let named = Checkpoint::copy_of("llama").load().unwrap().with_tokenizer(&unusable.path(FILE));
    assert!(matches!(named, Err(ModelError::LfsPointer { .. })));
}

#[test]
fn tokens_beyond_the_model_are_noted_and_refused_only_in_a_text() {
    let text = words(json!({"?": 0, "one": 96, "two": 98, "three": 97}));
    let checkpoint = Checkpoint::copy_of("llama").with_file(FILE, text);
    let model = checkpoint.load().unwrap();
    let expected = Note::TokensBeyond { count: 2, token: "three".to_owned(), id: 97, vocab_size: 97 };
    assert_eq!(model.notes(), [expected]);
    let tokenizer = model.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("one four", Bos::Auto).unwrap(), [96, 0]);
    let error = tokenizer.encode("one two", Bos::Auto).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, ModelError::TokenizerVocabulary { found: 98, expected: 97, .. }), "{error:?}");
    assert!(message.contains("`two` with id 98") && message.contains(FILE), "{message}");
}

#[test]
fn an_added_token_outside_the_model_is_noted() {
    let vocabulary: Map<String, Value> = (0..97).map(|id| (format!("word{id}"), Value::from(id))).collect();
    let mut tokenizer: Value = serde_json::from_str(&words(Value::from(vocabulary))).unwrap();
    tokenizer["added_tokens"] = json!([{
        "id": 97,
        "content": "<image_soft_token>",
        "single_word": false,
        "lstrip": false,
        "rstrip": false,
        "normalized": false,
        "special": true
    }]);
    let model = Checkpoint::copy_of("llama").with_file(FILE, tokenizer.to_string()).load().unwrap();
    assert!(matches!(model.notes(), [Note::TokensBeyond { count: 1, id: 97, .. }]), "{:?}", model.notes());
    let text = model.notes()[0].to_string();
    assert!(text.contains("1 token beyond the model's 97, from `<image_soft_token>`"), "{text}");
}

#[test]
fn a_tokenizer_that_fits_is_used_and_cuts_no_prompt() {
    let checkpoint =
        Checkpoint::copy_of("llama").with_file(FILE, words(json!({"?": 0, "one": 3, "two": 96})));
    let model = checkpoint.load().unwrap();
    let tokenizer = model.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("one two one two", Bos::Auto).unwrap(), [3, 96, 3, 96]);
    assert_eq!(tokenizer.encode("two", Bos::Yes).unwrap(), [1, 96]);
}

#[test]
fn the_first_token_of_every_text_is_bos_or_none() {
    let mut tokenizer: Value = serde_json::from_str(&words(json!({"?": 0, "one": 3, "<s>": 1}))).unwrap();
    let plain = Checkpoint::copy_of("llama").with_file(FILE, tokenizer.to_string()).load().unwrap();
    let first = |model: &Model, bos| model.tokenizer().unwrap().first_token(bos).unwrap();
    assert_eq!([Bos::Auto, Bos::Yes, Bos::No].map(|bos| first(&plain, bos)), [None, Some(1), None]);

    let template = |token: &str, id: u32| {
        json!({"type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}})
    };
    for (token, id, expected) in [("<s>", 1, Some(1)), ("one", 3, None)] {
        tokenizer["post_processor"] = template(token, id);
        let model = Checkpoint::copy_of("llama").with_file(FILE, tokenizer.to_string()).load().unwrap();
        assert_eq!(model.tokenizer().unwrap().encode("one", Bos::Auto).unwrap(), [id, 3]);
        assert_eq!(first(&model, Bos::Auto), expected, "{token}");
        assert_eq!(first(&model, Bos::No), None);
    }
}

#[test]
fn text_for_a_model_without_a_tokenizer_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama");
    let model = checkpoint.load().unwrap();
    let error = model.tokenizer().unwrap_err();
    assert!(
        matches!(&error, ModelError::NoTokenizer { folder, tiktoken: false } if folder == checkpoint.folder.path())
    );
    let message = error.to_string();
    assert!(message.contains(&checkpoint.folder.path().display().to_string()), "{message}");
    assert!(message.contains("no tokenizer.json: give token ids"), "{message}");

    let checkpoint = checkpoint.with_file("tokenizer.model", "IQ== 0\nIg== 1\n");
    let message = checkpoint.load().unwrap().tokenizer().unwrap_err().to_string();
    assert!(message.contains("a list of ranks (tiktoken), which is not read: give token ids"), "{message}");
}

#[test]
fn bos_for_a_config_that_names_none_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama")
        .without_key("bos_token_id")
        .with_file(FILE, words(json!({"?": 0, "one": 3})));
    let model = checkpoint.load().unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let error = tokenizer.encode("one", Bos::Yes).unwrap_err();
    assert!(matches!(&error, ModelError::NoBos { path } if *path == checkpoint.path("config.json")));
    assert!(error.to_string().contains("names no bos_token_id"), "{error}");
    assert_eq!(tokenizer.encode("one", Bos::Auto).unwrap(), [3]);
}
