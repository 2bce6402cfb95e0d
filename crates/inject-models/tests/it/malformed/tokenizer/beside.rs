//! The files beside a tokenizer, and those before `tokenizer.json`.

use super::*;

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
fn a_fault_of_the_merges_is_named_with_their_file() {
    let copy = |file: &str| fs::read_to_string(fixture::folder("byte-level").join(file)).unwrap();
    let merges = copy("merges.txt");
    let lines = merges.lines().count();
    for (more, says) in [
        ("\n".to_owned(), &[&*format!("line {}", lines + 1), "two pieces"][..]),
        ("a b c\n".to_owned(), &[&*format!("line {}", lines + 1), "two pieces"]),
        ("missing here\n".to_owned(), &["missing", "out of vocabulary"]),
    ] {
        let checkpoint = Checkpoint::copy_of("llama")
            .with_key("vocab_size", 300)
            .with_rows(300)
            .with_file("vocab.json", copy("vocab.json"))
            .with_file("merges.txt", format!("{}\n{more}", merges.trim_end()));
        checkpoint.tokenizer_error("merges.txt", says);
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
