//! Faults of the tokenizer.

use super::*;

/// Checks that the tokenizer of a fixture is refused for a key after its bytes are edited. The model loads, because ids need none.
fn bad_tokenizer_key(file: &str, says: &[&str], edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(fixture::folder("gguf").join(file)).unwrap();
    edit(&mut bytes);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let model =
        Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device()).unwrap();
    let Err(ModelError::UnusableTokenizer { source }) = model.tokenizer() else { panic!("it is usable") };
    says_all(&source, &path, says);
    assert!(matches!(*source, ModelError::Config { .. }), "{source:?}");
}

#[test]
fn a_tokenizer_that_is_not_known_is_named() {
    bad_tokenizer_key(
        "gpt2.gguf",
        &["key `tokenizer.ggml.model` is \"bert\", expected `gpt2` or `llama`"],
        |bytes| set(bytes, "tokenizer.ggml.model", &[&4_u64.to_le_bytes(), b"bert".as_slice()].concat()),
    );
    bad_tokenizer_key(
        "gpt2.gguf",
        &["key `tokenizer.ggml.pre` is \"poncho\", expected one of gpt-2,", "llama-bpe"],
        |bytes| set(bytes, "tokenizer.ggml.pre", &[&6_u64.to_le_bytes(), b"poncho".as_slice()].concat()),
    );
}

#[test]
fn a_tokenizer_without_one_of_its_lists_is_refused() {
    for (file, key) in [
        ("gpt2.gguf", "tokenizer.ggml.tokens"),
        ("gpt2.gguf", "tokenizer.ggml.token_type"),
        ("gpt2.gguf", "tokenizer.ggml.merges"),
        ("gpt2.gguf", "tokenizer.ggml.pre"),
        ("llama.gguf", "tokenizer.ggml.scores"),
    ] {
        bad_tokenizer_key(file, &[&format!("key `{key}` is missing")], |bytes| rename(bytes, key));
    }
}

/// The converter of llama.cpp names special tokens only if a file beside `tokenizer.model` does.
#[test]
fn special_tokens_of_a_sentence_piece_vocabulary_have_usual_ids() {
    let named = fixture::folder("gguf").join("llama.gguf");
    let mut bytes = std::fs::read(&named).unwrap();
    for key in ["unknown_token_id", "bos_token_id", "eos_token_id"] {
        rename(&mut bytes, &format!("tokenizer.ggml.{key}"));
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("unnamed.gguf");
    std::fs::write(&path, bytes).unwrap();
    let ids = |path: &Path| {
        let model =
            Model::load(Origin::of_folder(path), FloatFormat::F32, &inject_testing::any_device()).unwrap();
        model.tokenizer().unwrap().encode("On the \u{1F600} it", inject_models::Bos::Auto).unwrap()
    };
    assert_eq!(ids(&path), ids(&named));
}

#[test]
fn a_token_that_stands_twice_is_refused() {
    bad_tokenizer_key(
        "gpt2.gguf",
        &["key `tokenizer.ggml.tokens` is \"[unused0]\" at", "expected every token once"],
        |bytes| {
            let begin = after(bytes, "[unused1");
            bytes[begin - 1] = b'0';
        },
    );
}

/// A file with a SentencePiece vocabulary of these tokens, and its own scores and kinds for them.
fn sentence_piece(tokens: &[String]) -> File {
    let list = |kind: u32, items: Vec<u8>| {
        [&kind.to_le_bytes(), (tokens.len() as u64).to_le_bytes().as_slice(), &items].concat()
    };
    let kinds = tokens.iter().flat_map(|_| 1_i32.to_le_bytes()).collect();
    let scores = (0..tokens.len()).flat_map(|i| (-(i as f32)).to_le_bytes()).collect();
    File::sound()
        .with_key("tokenizer.ggml.model", TEXT, text("llama"))
        .with_key(
            "tokenizer.ggml.tokens",
            LIST,
            list(TEXT, tokens.iter().flat_map(|token| text(token)).collect()),
        )
        .with_key("tokenizer.ggml.token_type", LIST, list(I32, kinds))
        .with_key("tokenizer.ggml.scores", LIST, list(FLOAT32, scores))
        .with_key("tokenizer.ggml.unknown_token_id", U32, 0_u32.to_le_bytes())
        .with_key("tokenizer.ggml.add_bos_token", FLAG, [0])
}

/// Gives a model the tokenizer of a file, and returns the refusal, if it is one.
fn refused_tokenizer(file: &File) -> Option<String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    let model = fixture::load("llama", FloatFormat::F32, &inject_testing::any_device());
    model.with_tokenizer(&path).err().map(|error| chain(&error))
}

/// Each prefix of a long token is a token, so that there are as many merges to it as it has letters. All of them together would
/// take the cube of that number.
#[test]
fn tokens_with_very_many_merges_are_refused() {
    let prefixes = |longest: usize| (1..=longest).map(|length| "a".repeat(length)).collect::<Vec<_>>();
    assert_eq!(refused_tokenizer(&sentence_piece(&prefixes(64))), None);
    let refused = refused_tokenizer(&sentence_piece(&prefixes(1000))).unwrap();
    assert!(refused.contains("the length of all merges is"), "{refused}");
}

#[test]
fn tokens_that_are_too_long_are_refused() {
    let tokens = ["<unk>".to_owned(), "a".repeat(1025)];
    let refused = refused_tokenizer(&sentence_piece(&tokens)).unwrap();
    assert!(refused.contains("the length of a token is 1025, expected at most 1024"), "{refused}");
    let refused = refused_tokenizer(&sentence_piece(&["?".repeat(65)])).unwrap();
    assert!(refused.contains("the length of the unknown token is 65, expected at most 64"), "{refused}");
}

#[test]
fn a_special_token_beyond_the_vocabulary_is_refused() {
    bad_tokenizer_key(
        "llama.gguf",
        &["key `tokenizer.ggml.bos_token_id` is 97, expected the id of one of 97 tokens"],
        |bytes| set(bytes, "tokenizer.ggml.bos_token_id", &97_u32.to_le_bytes()),
    );
}

#[test]
fn a_merge_of_one_part_is_refused() {
    bad_tokenizer_key(
        "gpt2.gguf",
        &["key `tokenizer.ggml.merges` is \"a_b\", expected two tokens"],
        |bytes| {
            let begin = after(bytes, "tokenizer.ggml.merges") + 4 + 4 + 8 + 8;
            assert_eq!(&bytes[begin..begin + 3], b"a b");
            bytes[begin + 1] = b'_';
        },
    );
}
