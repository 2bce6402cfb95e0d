//! Whatever a file holds, loading it returns a model or an error and never panics.

use inject_models::{
    Bos, FloatFormat, Logits, Model, ModelError, Origin, Tap, TokenBatch,
    checkpoint::{Damage, HeaderError},
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{Checkpoint, header_len};
use crate::fixture::{self, ONE_PER_FAMILY};

/// Beside the families, the spellings they do not use.
const CONFIGS: [&str; 5] = ["gemma3-old", "gemma3-multimodal", "llama3-scaling", "llama-linear", "phi3"];

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A value of any kind.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![-1_i64, 0, 1, 2, 3, 7, 97, 1 << 24, 1 << 53, i64::MAX])
            .prop_map(Value::from),
        Just(json!(u64::MAX)),
        prop::sample::select(vec![-1.5, 0.0, 5e-324, 1e-30, 0.5, 1.0, 1e30, f64::MAX]).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "linear",
            "llama3",
            "longrope",
            "default",
            "gelu",
            "full_attention",
            "gemma3"
        ])
        .prop_map(Value::from),
    ];
    prop_oneof![
        4 => scalar.clone(),
        1 => prop::collection::vec(scalar.clone(), 0..9).prop_map(Value::from),
        1 => prop::collection::hash_map("factor|rope_type|rope_theta|type|short_factor", scalar, 0..4)
            .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
    ]
}

/// Collects the JSON pointers of all values below one.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(i, value)| (format!("{at}/{i}"), value)).collect()
        }
        _ => Vec::new(),
    };
    for (pointer, value) in below {
        pointers(value, &pointer, into);
        into.push(pointer);
    }
}

/// A JSON text with some of its values replaced.
fn with_values_replaced(text: &[u8], replaced: Vec<(Index, Value)>) -> Vec<u8> {
    let mut root = serde_json::from_slice(text).unwrap();
    for (at, value) in replaced {
        let mut all = Vec::new();
        pointers(&root, "", &mut all);
        if !all.is_empty() {
            *root.pointer_mut(&all[at.index(all.len())]).unwrap() = value;
        }
    }
    serde_json::to_vec(&root).unwrap()
}

/// A tokenizer with the parts that those of the six families have.
fn tokenizer() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 1, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<s>"},
        "added_tokens": [{"id": 6, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "\u{120}": 2, "ab": 3, "\u{120}a": 4, "\u{120}ab": 5},
            "merges": ["a b", "\u{120} a", "\u{120} ab"]}
    })
}

/// Loads it and, where that works, computes a state.
fn try_out(checkpoint: &Checkpoint) {
    if let Ok(model) = checkpoint.load() {
        let prompt = TokenBatch::new(&[[1, 2, 3]]).unwrap();
        let logits = if model.decoder.has_head() { Logits::Last } else { Logits::None };
        let forward = model.decoder.forward(&prompt, &[Tap::FinalNorm], logits).unwrap();
        assert_eq!(forward.states[&Tap::FinalNorm].dims()[1], 3);
    }
}

/// Replaces some bytes among the first `len`, and cuts the rest off at `cut`.
fn scramble(bytes: &mut Vec<u8>, len: usize, edits: &[(Index, u8)], cut: Option<Index>) {
    for (at, byte) in edits {
        bytes[at.index(len)] = *byte;
    }
    if let Some(at) = cut {
        bytes.truncate(at.index(bytes.len()));
    }
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8)>> {
    // Half of the bytes have a meaning in JSON.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"{}[],:0129-.eE \\n".to_vec())];
    prop::collection::vec((any::<Index>(), byte), 0..6)
}

/// A byte that means something in a GGUF file, or any.
fn gguf_byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), 0..16_u8]
}

/// The length of everything before the data: the names of tensors stand last.
fn gguf_head_len(bytes: &[u8]) -> usize {
    let last = bytes.windows(4).rposition(|window| window == b"blk." || window == b"outp").unwrap();
    last + 64
}

#[test]
fn property_tests_draw_the_same_cases_in_every_run() {
    // From .cargo/config.toml.
    assert_ne!(ProptestConfig::default().rng_seed, proptest::test_runner::RngSeed::Random);
}

proptest! {
    #![proptest_config(settings(400))]

    #[test]
    fn any_value_in_a_config_is_an_error_or_a_model(
        case in prop::sample::select([&ONE_PER_FAMILY[..], &CONFIGS].concat()),
        replaced in prop::collection::vec((any::<Index>(), value()), 1..4),
    ) {
        let checkpoint = Checkpoint::copy_of(case)
            .with_bytes("config.json", |bytes| *bytes = with_values_replaced(bytes, replaced));
        try_out(&checkpoint);
    }

    #[test]
    fn any_bytes_in_a_config_are_an_error_or_a_model(
        case in prop::sample::select(&ONE_PER_FAMILY[..]),
        edits in edits(),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let checkpoint = Checkpoint::copy_of(case).with_bytes("config.json", |bytes| {
            let len = bytes.len();
            scramble(bytes, len, &edits, cut);
        });
        try_out(&checkpoint);
    }

    #[test]
    fn any_bytes_in_a_safetensors_header_are_an_error_or_a_model(
        case in prop::sample::select(vec!["gpt2", "gemma3"]),
        edits in edits(),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let checkpoint = Checkpoint::copy_of(case).with_bytes("model.safetensors", |bytes| {
            let len = 8 + header_len(bytes);
            scramble(bytes, len, &edits, cut);
        });
        try_out(&checkpoint);
    }

    #[test]
    fn any_length_of_a_safetensors_header_is_an_error(claimed in any::<u64>(), kept in any::<Index>()) {
        let checkpoint = Checkpoint::copy_of("gpt2").with_bytes("model.safetensors", |bytes| {
            bytes[..8].copy_from_slice(&claimed.to_le_bytes());
            scramble(bytes, 8, &[], Some(kept));
        });
        let error = checkpoint.load().map(|_| ()).expect_err("it loads");
        let ModelError::Damaged { source: Damage::Header(fault), .. } = error else { panic!("{error:?}") };
        // Too short for a length, or for the length claimed; or the header is cut off within.
        let expected = matches!(
            fault,
            HeaderError::TooShort { .. } | HeaderError::TooLong { .. } | HeaderError::Json(_)
        );
        prop_assert!(expected, "{fault:?}");
    }

    #[test]
    fn any_bytes_in_a_pickle_are_an_error_or_a_model(
        edits in prop::collection::vec((any::<Index>(), any::<u8>()), 0..40),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let checkpoint = Checkpoint::copy_of("gpt-neo-bin").with_bytes("pytorch_model.bin", |bytes| {
            let len = bytes.len();
            scramble(bytes, len, &edits, cut);
        });
        try_out(&checkpoint);
    }

    #[test]
    fn any_bytes_in_the_head_of_a_gguf_file_are_an_error_or_a_model(
        file in prop::sample::select(vec!["gpt2", "llama", "llama3-scaling", "gemma3", "phi4"]),
        edits in prop::collection::vec((any::<Index>(), gguf_byte()), 0..6),
        cut in prop::option::weighted(0.1, any::<Index>()),
        text in "[abc0 ]{0,12}",
    ) {
        let folder = tempfile::TempDir::new().unwrap();
        let mut bytes = std::fs::read(fixture::folder("gguf").join(file).with_extension("gguf")).unwrap();
        let len = gguf_head_len(&bytes);
        scramble(&mut bytes, len, &edits, cut);
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).unwrap();
        let device = &inject_testing::any_device();
        if let Ok(model) = Model::load(Origin::of_folder(&path), FloatFormat::F32, device) {
            let prompt = TokenBatch::new(&[[1, 2, 3]]).unwrap();
            model.decoder.forward(&prompt, &[Tap::FinalNorm], Logits::Last).unwrap();
            if let Ok(tokenizer) = model.tokenizer() {
                let _ = tokenizer.encode(&text, Bos::Auto).and_then(|ids| tokenizer.decode(&ids));
            }
        }
    }

    #[test]
    fn any_bytes_in_the_header_of_quantised_weights_are_an_error_or_a_model(
        case in prop::sample::select(vec!["nf4-nested", "int8", "fp8-channel", "fp8-block"]),
        edits in edits(),
    ) {
        let case = format!("quantised/{case}");
        let checkpoint =
            Checkpoint::copy_of(&case).with_bytes("model.safetensors", |bytes| {
                let len = 8 + header_len(bytes);
                scramble(bytes, len, &edits, None);
            });
        try_out(&checkpoint);
    }

    #[test]
    fn any_value_in_a_tokenizer_is_an_error_or_a_tokenizer(
        replaced in prop::collection::vec((any::<Index>(), value()), 0..4),
        text in "[ab0 ]{0,12}",
    ) {
        let changed = with_values_replaced(&serde_json::to_vec(&tokenizer()).unwrap(), replaced);
        let checkpoint = Checkpoint::copy_of("llama").with_file("tokenizer.json", changed);
        let model = checkpoint.load().unwrap();
        if let Ok(tokenizer) = model.tokenizer() {
            for bos in [Bos::Auto, Bos::Yes, Bos::No] {
                let _ = tokenizer.encode(&text, bos).and_then(|ids| tokenizer.decode(&ids));
            }
        }
    }
}
