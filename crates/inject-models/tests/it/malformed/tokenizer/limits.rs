//! Tokenizers that ask for more than they need.

use super::*;

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
            &["the length of the file in bytes", "vocab_size, is 67108864", "expected at most 42042368"],
        );
    }
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
        (
            "model",
            json!({"type": "WordLevel", "vocab": {"x".repeat(60_000): 0}, "unk_token": "a"}),
            "a token is 60000",
        ),
        (
            "model",
            json!({"type": "Unigram", "unk_id": 0, "vocab": [["x".repeat(60_000), 0.0]]}),
            "a token is 60000",
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

/// A small model may have the tokenizer of a large one. Its other tokens are noted.
#[test]
fn a_tokenizer_much_larger_than_the_model_is_read() {
    let words: serde_json::Map<String, Value> =
        (0..100_000).map(|id| (format!("a word of some length {id}"), json!(id))).collect();
    let tokenizer = json!({"version": "1.0", "model": {"type": "WordLevel", "unk_token": "a word of some length 0", "vocab": words}});
    let text = tokenizer.to_string();
    assert!(text.len() > 3 << 20);
    let model = Checkpoint::copy_of("llama").with_file(FILE, text).load().unwrap();
    assert!(model.tokenizer().is_ok());
}

#[test]
fn a_tokenizer_longer_than_its_vocabulary_can_need_is_refused_unread() {
    let checkpoint = Checkpoint::copy_of("llama").with_file(FILE, "{");
    // A sparse file: reading it whole would take a terabyte.
    let file = std::fs::File::options().write(true).open(checkpoint.path(FILE)).unwrap();
    if file.set_len(1 << 40).is_err() {
        file.set_len(1 << 26).unwrap();
    }
    checkpoint.tokenizer_error(FILE, &["the length of the file in bytes", "expected at most 42042368"]);
}
