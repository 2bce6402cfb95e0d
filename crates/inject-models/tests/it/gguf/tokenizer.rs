//! The tokenizer of a file.

use super::*;

#[test]
fn the_tokenizer_of_a_file_gives_the_ids_of_the_library() {
    let tokens: Value =
        serde_json::from_slice(&fs::read(fixture::folder("gguf").join("tokens.json")).unwrap()).unwrap();
    for file in ["gpt2", "llama"] {
        let model = load(file);
        let tokenizer = model.tokenizer().unwrap();
        let texts = tokens["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        for (text, expected) in texts.zip(tokens[file].as_array().unwrap()) {
            let found = tokenizer.encode(text, Bos::Auto).unwrap();
            assert_eq!(&serde_json::to_value(&found).unwrap(), expected, "{file}: {text:?}");
            let whole = found.iter().all(|&id| tokenizer.token(id).as_deref() != Some("<unk>"));
            if whole && !text.contains(['<', '5']) {
                assert_eq!(tokenizer.decode(&found).unwrap(), text, "{file}");
            }
        }
    }
}

#[test]
fn the_begin_of_a_text_is_what_the_file_says() {
    let first = |file: &str, bos| load(file).tokenizer().unwrap().first_token(bos).unwrap();
    assert_eq!(
        (first("llama", Bos::Auto), first("llama", Bos::Yes), first("llama", Bos::No)),
        (Some(1), Some(1), None)
    );
    assert_eq!((first("gpt2", Bos::Auto), first("gpt2", Bos::Yes)), (None, Some(0)));
}

/// A name of cuts alone decides it where no key does. As in llama.cpp (`llama_vocab::impl::load`).
#[test]
fn the_name_of_the_cuts_says_whether_texts_begin_with_bos_and_whole_tokens_stay() {
    // A token that no merge makes, of letters that are tokens.
    let whole = "qqqqqqqqqq";
    let place = |bytes: &[u8]| after(bytes, "[unused10]") - whole.len();
    let id = load("gpt2").tokenizer().unwrap().encode("q", Bos::No).unwrap()[0];
    for (name, plain) in [
        ("llama-bpe", false),
        ("llama3", false),
        ("llama-v3", false),
        ("falcon3", false),
        ("tekken", false),
        ("smaug-bpe", true),
        ("dbrx", true),
        ("qwen2", true),
        ("gpt-4o", true),
        ("gpt-2", true),
        ("smollm", true),
    ] {
        let model = edited("gpt2", |bytes| {
            let begin = place(bytes);
            bytes[begin..begin + whole.len()].copy_from_slice(whole.as_bytes());
            replace(bytes, "tokenizer.ggml.pre", TEXT, &text(name));
        });
        let found = model.tokenizer().unwrap().encode(whole, Bos::Auto).unwrap();
        if plain {
            assert_eq!(found, vec![id; whole.len()], "{name}");
        } else {
            assert_eq!((found[0], found.len()), (0, 2), "{name}");
        }
    }
}

#[test]
fn the_hash_of_a_tokenizer_is_that_of_its_metadata() {
    let hash = |file: &str| load(file).tokenizer().unwrap().hash().to_owned();
    assert_eq!(hash("llama"), hash("llama"));
    assert_ne!(hash("llama"), hash("gpt2"));
    let error = load("phi3").tokenizer().unwrap_err();
    assert!(matches!(error, ModelError::NoTokenizer { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("phi3.gguf holds no tokenizer (`tokenizer.ggml.model`): give token ids"), "{text}");
}
