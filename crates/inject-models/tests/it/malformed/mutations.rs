//! Whatever stands in a file, loading it gives a model or an error, and never panics.

use inject_models::{Logits, Tap, TokenBatch};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{Checkpoint, header_len};
use crate::fixture::ONE_PER_FAMILY;

/// Beside the families, the spellings they do not use.
const CONFIGS: [&str; 5] = ["gemma3-old", "gemma3-multimodal", "llama3-scaling", "llama-linear", "phi3"];

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What might stand where a value stands.
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

/// Every value below one, as a JSON pointer.
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

/// Loads it and, where that works, computes a state.
fn try_out(checkpoint: &Checkpoint) {
    if let Ok(model) = checkpoint.load() {
        let prompt = TokenBatch::new(&[[1, 2, 3]]).unwrap();
        let forward = model.decoder.forward(&prompt, &[Tap::FinalNorm], Logits::Last).unwrap();
        assert_eq!(forward.states[&Tap::FinalNorm].dims()[1], 3);
    }
}

/// Replaces some bytes among the first `len`, and cuts the rest off where that is asked for.
fn scramble(bytes: &mut Vec<u8>, len: usize, edits: &[(Index, u8)], cut: Option<Index>) {
    for (at, byte) in edits {
        bytes[at.index(len)] = *byte;
    }
    if let Some(at) = cut {
        bytes.truncate(at.index(bytes.len()));
    }
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8)>> {
    // Half of them such bytes as mean something to a parser of JSON.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"{}[],:0129-.eE \\n".to_vec())];
    prop::collection::vec((any::<Index>(), byte), 0..6)
}

proptest! {
    #![proptest_config(settings(400))]

    #[test]
    fn any_value_in_a_config_is_an_error_or_a_model(
        case in prop::sample::select([&ONE_PER_FAMILY[..], &CONFIGS].concat()),
        replaced in prop::collection::vec((any::<Index>(), value()), 1..4),
    ) {
        let checkpoint = Checkpoint::copy_of(case).with_json("config.json", |config| {
            let mut root = Value::from(std::mem::take(config));
            for (at, value) in replaced {
                let mut all = Vec::new();
                pointers(&root, "", &mut all);
                *root.pointer_mut(&all[at.index(all.len())]).unwrap() = value;
            }
            *config = root.as_object().unwrap().clone();
        });
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
        prop_assert!(checkpoint.load().is_err());
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
}
