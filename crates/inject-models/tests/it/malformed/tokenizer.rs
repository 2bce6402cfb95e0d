//! Faults of tokenizer.json, and the use of a tokenizer without faults.

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
fn vocab_json_and_merges_txt_give_the_ids_of_gpt2s_tokenizer() {
    let folder = fixture::folder("byte-level");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("ids.json")).unwrap()).unwrap();
    let model = || Checkpoint::copy_of("llama").with_key("vocab_size", 300).with_rows(300).load().unwrap();
    let older = tempfile::tempdir().unwrap();
    for file in ["vocab.json", "merges.txt"] {
        fs::copy(folder.join(file), older.path().join(file)).unwrap();
    }
    let places = [folder.join("tokenizer.json"), older.path().to_owned(), older.path().join("vocab.json")];
    for place in places {
        let model = model().with_tokenizer(&place).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        for case in &cases {
            let (text, ids): (String, Vec<u32>) = (
                case["text"].as_str().unwrap().to_owned(),
                serde_json::from_value(case["ids"].clone()).unwrap(),
            );
            assert_eq!(tokenizer.encode(&text, Bos::Auto).unwrap(), ids, "{text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text.replace("<|endoftext|>", ""));
        }
    }
}

#[test]
fn special_tokens_in_the_files_beside_merges_stay_whole_as_in_transformers() {
    let folder = fixture::folder("byte-level");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("beside.json")).unwrap()).unwrap();
    let model = Checkpoint::copy_of("llama").with_key("vocab_size", 320).with_rows(320).load().unwrap();
    for case in cases {
        let place = tempfile::tempdir().unwrap();
        for file in ["vocab.json", "merges.txt"] {
            fs::copy(folder.join(file), place.path().join(file)).unwrap();
        }
        for (file, contents) in case["files"].as_object().unwrap() {
            let text = match contents {
                // Another name for the first token.
                Value::String(first) => {
                    fs::read_to_string(folder.join(file)).unwrap().replace("<|endoftext|>", first)
                }
                contents => contents.to_string(),
            };
            fs::write(place.path().join(file), text).unwrap();
        }
        let model = model.clone().with_tokenizer(place.path()).unwrap();
        let ids = model.tokenizer().unwrap().encode(case["text"].as_str().unwrap(), Bos::Auto).unwrap();
        assert_eq!(serde_json::to_value(&ids).unwrap(), case["ids"], "{case}");
    }
}

#[test]
fn added_tokens_beside_merges_must_follow_the_vocabulary() {
    let folder = fixture::folder("byte-level");
    let beside = |id: u32| {
        let copy = |file: &str| fs::read(folder.join(file)).unwrap();
        Checkpoint::copy_of("llama")
            .with_file("vocab.json", copy("vocab.json"))
            .with_file("merges.txt", copy("merges.txt"))
            .with_file("added_tokens.json", json!({"<new>": id}).to_string())
    };
    let model = beside(300).load().unwrap();
    assert_eq!(model.tokenizer().unwrap().vocab_size(), 301);
    beside(310).tokenizer_error("added_tokens.json", &["`<new>` is 310", "expected 300"]);
}

#[test]
fn a_damaged_file_beside_a_tokenizer_is_named_once() {
    let tokenizers: [&[&str]; 3] = [
        &["byte-level/tokenizer.json"],
        &["byte-level/vocab.json", "byte-level/merges.txt"],
        &["sentence-piece/llama.model"],
    ];
    for tokenizer in tokenizers {
        for file in ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"] {
            let mut checkpoint = Checkpoint::copy_of("llama");
            for path in tokenizer {
                let name = path.rsplit('/').next().unwrap().replace("llama.model", "tokenizer.model");
                checkpoint = checkpoint.with_file(&name, fs::read(fixture::folder(path)).unwrap());
            }
            let checkpoint = checkpoint.with_file(file, "{\"a\"");
            let error = checkpoint.tokenizer_error(file, &["line 1"]);
            assert!(
                matches!(&*error, ModelError::Json { path, .. } if *path == checkpoint.path(file)),
                "{error}"
            );
            let model = checkpoint.load().unwrap();
            let [note] = model.notes() else { panic!("{:?}", model.notes()) };
            let text = note.to_string();
            assert!(text.matches(file).count() == 1 && !text.contains("tokenizer.json"), "{text}");
        }
    }
}

#[test]
fn a_vocabulary_or_merges_longer_than_the_model_can_need_are_refused_unread() {
    let folder = fixture::folder("byte-level");
    let copy = |file: &str| fs::read(folder.join(file)).unwrap();
    for long in ["vocab.json", "merges.txt"] {
        let checkpoint = Checkpoint::copy_of("llama")
            .with_file("vocab.json", copy("vocab.json"))
            .with_file("merges.txt", copy("merges.txt"));
        let file = fs::File::options().write(true).open(checkpoint.path(long)).unwrap();
        file.set_len(1 << 26).unwrap();
        checkpoint.tokenizer_error(
            long,
            &["the length of the file in bytes is 67108864", "expected at most 1147904"],
        );
    }
}

#[test]
fn a_tokenizer_config_that_says_otherwise_about_bos_is_noted() {
    let with = |says: bool| {
        Checkpoint::copy_of("llama")
            .with_file(FILE, words(json!({"?": 0, "one": 3})))
            .with_file("tokenizer_config.json", json!({"add_bos_token": says}).to_string())
            .load()
            .unwrap()
    };
    assert_eq!(with(false).notes(), []);
    let model = with(true);
    assert_eq!(model.notes(), [Note::OtherBos { added: false }]);
    assert_eq!(model.tokenizer().unwrap().encode("one", Bos::Auto).unwrap(), [3]);
}

/// Without a `bos_token` the file means the token that the tokenizer itself puts before a text, whatever config.json names.
#[test]
fn a_tokenizer_config_that_names_no_bos_agrees_with_a_tokenizer_that_puts_a_token_before() {
    let mut tokenizer: Value = serde_json::from_str(&words(json!({"?": 0, "one": 3, "<s>": 1}))).unwrap();
    tokenizer["post_processor"] = json!({"type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}});
    let notes = |bos: u32, config: Value| {
        let checkpoint = Checkpoint::copy_of("llama").with_file(FILE, tokenizer.to_string());
        let checkpoint = checkpoint.with_file("tokenizer_config.json", config.to_string());
        checkpoint.with_key("bos_token_id", bos).load().unwrap().notes().to_vec()
    };
    assert_eq!(notes(2, json!({"add_bos_token": true})), []);
    assert_eq!(notes(1, json!({"add_bos_token": false})), [Note::OtherBos { added: true }]);
    // The token before the text is another one than the file names.
    assert_eq!(
        notes(2, json!({"add_bos_token": true, "bos_token": "one"})),
        [Note::OtherBos { added: false }]
    );
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

#[test]
fn a_tokenizer_that_makes_the_library_panic_is_refused() {
    let mut tokenizer: Value = serde_json::from_str(&words(json!({}))).unwrap();
    tokenizer["model"] = json!({
        "type": "BPE",
        "continuing_subword_prefix": "longer than any part",
        "vocab": {"a": 0, "b": 1, "ab": 2},
        "merges": ["a b"]
    });
    let error = Checkpoint::copy_of("llama")
        .with_file(FILE, tokenizer.to_string())
        .tokenizer_error(FILE, &["the tokenizers library failed"]);
    assert!(matches!(*error, ModelError::Tokenizer { .. }), "{error:?}");
}

/// The tokenizer of [`words`] with one part replaced.
fn with_part(key: &str, value: Value) -> Value {
    let mut tokenizer: Value = serde_json::from_str(&words(json!({"?": 0, "one": 3}))).unwrap();
    tokenizer[key] = value;
    tokenizer
}

/// A template with these pieces and one special token.
fn template(pieces: &[Value], ids: usize) -> Value {
    json!({"type": "TemplateProcessing", "single": pieces, "pair": [],
        "special_tokens": {"one": {"id": "one", "ids": vec![3; ids], "tokens": vec!["one"; ids]}}})
}

/// Each of these asks the library for gigabytes, and has less than 70 KB.
#[test]
fn a_small_tokenizer_that_asks_for_much_is_refused() {
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let sequence = |kind: &str, parts: Vec<Value>| json!({"type": "Sequence", kind: parts});
    let doubled = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let (special, text) = (
        json!({"SpecialToken": {"id": "one", "type_id": 0}}),
        json!({"Sequence": {"id": "A", "type_id": 0}}),
    );
    // 2^32 - 4 bytes of a trie, of which there are 4.
    let table = json!({"type": "Precompiled", "precompiled_charsmap": "/P///wAAAAA="});
    let model = |key: &str| json!({"type": "BPE", "vocab": {"a": 0}, "merges": [], key: "x".repeat(60_000)});
    let added = json!([{"id": 3, "content": "x".repeat(60_000), "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": true, "special": true}]);
    let inserted = |pattern: Value| {
        let replace = json!({"type": "Replace", "pattern": pattern, "content": "a"});
        sequence("normalizers", vec![replace; 33])
    };
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let mut untyped = bytes.clone();
    untyped.as_object_mut().unwrap().remove("type");
    let chinese = json!({"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": true,
        "strip_accents": false, "lowercase": false});
    let twice = "the growth of a text by replacements is 128";
    // A trie of no bytes, and a replacement of 300 letters.
    let long = json!({"type": "Precompiled", "precompiled_charsmap": format!("AAAAAA{}", "hh".repeat(201))});
    let cases = [
        ("pre_tokenizer", sequence("pretokenizers", vec![bytes; 30]), twice),
        ("pre_tokenizer", sequence("pretokenizers", vec![untyped; 30]), twice),
        ("normalizer", sequence("normalizers", vec![chinese; 30]), twice),
        ("normalizer", sequence("normalizers", vec![json!({"type": "ByteLevel"}); 30]), twice),
        ("normalizer", inserted(json!({"Regex": "(?=b)"})), twice),
        ("normalizer", inserted(json!({"String": ""})), twice),
        ("normalizer", long, "the growth of a text by replacements is"),
        (
            "pre_tokenizer",
            split("((a(?=b)){1000}){1000}"),
            "the size of all patterns with their counts is 22000000",
        ),
        (
            "pre_tokenizer",
            sequence("pretokenizers", vec![split("\\w{99}"); 700]),
            "the number of patterns is 65",
        ),
        ("pre_tokenizer", split(&"(?:a)".repeat(1000)), "a text beside the vocabulary is 5000"),
        (
            "normalizer",
            sequence("normalizers", vec![doubled; 33]),
            "the growth of a text by replacements is 128",
        ),
        ("normalizer", json!({"type": "Prepend", "prepend": "x".repeat(4000)}), "growth"),
        ("normalizer", table, "announces a trie of 4294967292 bytes in a table of 9"),
        (
            "post_processor",
            template(&vec![special.clone(); 200], 300),
            "the number of tokens that templates add is 60000",
        ),
        ("post_processor", template(&vec![text; 500], 1), "copies of a text that templates make is 500"),
        ("decoder", json!({"type": "Sequence", "decoders": vec![json!({"type": "Fuse"}); 3000]}), "values"),
        ("model", model("continuing_subword_prefix"), "`continuing_subword_prefix` is 60000"),
        ("model", model("end_of_word_suffix"), "`end_of_word_suffix` is 60000"),
        ("model", model("unk_token"), "`unk_token` is 60000"),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "",
                "max_input_chars_per_word": 4000}),
            "`max_input_chars_per_word` is 4000",
        ),
        ("added_tokens", added, "an added token is 60000"),
    ];
    for (key, value, part) in cases {
        let text = with_part(key, value).to_string();
        assert!(text.len() < 70_000, "{key}: {part}: {}", text.len());
        let error = Checkpoint::copy_of("llama").with_file(FILE, text).tokenizer_error(FILE, &[part]);
        let ModelError::Tokenizer { source, .. } = &*error else { panic!("{error:?}") };
        assert!(source.is::<TokenizerLimit>(), "{source:?}");
    }
}

#[test]
fn what_published_tokenizers_ask_for_is_within_the_limits() {
    let gemma = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let split = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    let llama =
        json!({"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false});
    let pieces = [
        json!({"SpecialToken": {"id": "one", "type_id": 0}}),
        json!({"Sequence": {"id": "A", "type_id": 0}}),
    ];
    for (key, value) in
        [("normalizer", gemma), ("pre_tokenizer", llama), ("post_processor", template(&pieces, 1))]
    {
        let checkpoint = Checkpoint::copy_of("llama").with_file(FILE, with_part(key, value).to_string());
        assert!(checkpoint.load().unwrap().tokenizer().is_ok(), "{key}");
    }
}

#[test]
fn a_tokenizer_longer_than_its_vocabulary_can_need_is_refused_unread() {
    let checkpoint = Checkpoint::copy_of("llama").with_file(FILE, "{");
    // A sparse file: reading it whole would take a terabyte.
    let file = std::fs::File::options().write(true).open(checkpoint.path(FILE)).unwrap();
    if file.set_len(1 << 40).is_err() {
        file.set_len(1 << 26).unwrap();
    }
    checkpoint.tokenizer_error(FILE, &["the length of the file in bytes is", "expected at most 1147904"]);
}
