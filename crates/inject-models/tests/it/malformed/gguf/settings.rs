//! Faults of the settings.

use super::*;

#[test]
fn an_architecture_that_is_not_known_is_named() {
    let mut file = File::sound();
    file.keys[0].2 = text("rwkv6");
    let (_folder, path, error) = load(&file.bytes());
    says_all(
        &error,
        &path,
        &[
            "`general.architecture` is \"rwkv6\"",
            "llama, gemma2, gemma3, gpt2, gptneox, olmo2, phi3, qwen2, qwen3 or smollm3",
        ],
    );
    file.keys.clear();
    let (_folder, path, error) = load(&file.bytes());
    says_all(&error, &path, &["key `general.architecture` is missing"]);
}

#[test]
fn a_missing_setting_is_named_by_its_key() {
    for key in ["llama.block_count", "llama.embedding_length", "llama.attention.layer_norm_rms_epsilon"] {
        bad_key("llama.gguf", &[&format!("key `{key}` is missing")], |bytes| rename(bytes, key));
    }
}

#[test]
fn a_setting_that_is_not_known_is_refused() {
    bad_key(
        "llama.gguf",
        &["key `llama.attention.head_count_k~` is 4", "only keys known for the architecture `llama`"],
        |bytes| rename(bytes, "llama.attention.head_count_kv"),
    );
}

#[test]
fn all_settings_that_are_not_known_are_named_at_once() {
    bad_key(
        "llama.gguf",
        &[
            "key `llama.attention.scale` is 0.5, expected only",
            "key `llama.logit_scale` is 0.25, expected only",
        ],
        |bytes| {
            with_key(bytes, "llama.attention.scale", FLOAT32, &0.5_f32.to_le_bytes());
            with_key(bytes, "llama.logit_scale", FLOAT32, &0.25_f32.to_le_bytes());
        },
    );
}

#[test]
fn a_number_of_heads_that_differs_by_layer_is_refused() {
    for (file, key) in [
        ("llama.gguf", "llama.attention.head_count"),
        ("smollm3.gguf", "smollm3.attention.head_count_kv"),
        ("gpt-neox.gguf", "gptneox.attention.head_count"),
        ("qwen2.gguf", "qwen2.attention.head_count_kv"),
    ] {
        bad_key(
            file,
            &[&format!("key `{key}` is [4, 4, 2], expected a whole number, the same for every layer")],
            |bytes| {
                hide(bytes, key);
                with_key(bytes, key, LIST, &list_of_i32(&[4, 4, 2]));
            },
        );
    }
    bad_key(
        "llama.gguf",
        &["key `llama.attention.head_count_kv` is 0, expected a whole number above 0"],
        |bytes| set(bytes, "llama.attention.head_count_kv", &0_u32.to_le_bytes()),
    );
}

#[test]
fn two_names_of_a_setting_with_two_values_are_refused() {
    let f32 = |number: f32| number.to_le_bytes();
    for (file, key, kind, value, says) in [
        (
            "gemma3.gguf",
            "gemma3.rope.global.freq_base",
            FLOAT32,
            f32(1e6),
            "key `gemma3.rope.freq_base` is 20000 and key `gemma3.rope.global.freq_base` is 1000000, expected the same",
        ),
        (
            "gemma3.gguf",
            "gemma3.rope.local.freq_base",
            FLOAT32,
            f32(501.0),
            "key `gemma3.rope.freq_base_swa` is 500 and key `gemma3.rope.local.freq_base` is 501",
        ),
        (
            "qwen3.gguf",
            "qwen3.attention.head_dim",
            U32,
            8_u32.to_le_bytes(),
            "key `qwen3.attention.key_length` is 12 and key `qwen3.attention.head_dim` is 8",
        ),
        (
            "llama-linear.gguf",
            "llama.rope.scale_linear",
            FLOAT32,
            f32(1.5),
            "and key `llama.rope.scale_linear` is 1.5",
        ),
        (
            "llama.gguf",
            "llama.attention.layer_norm_epsilon",
            FLOAT32,
            f32(0.5),
            "key `llama.attention.layer_norm_epsilon` is 0.5, expected the layer_norm_rms_epsilon 0.001",
        ),
    ] {
        bad_key(file, &[says], |bytes| with_key(bytes, key, kind, &value));
    }
}

/// Files for embeddings and rerankers have them.
#[test]
fn settings_of_what_is_made_of_the_states_are_not_refused() {
    let labels = [&TEXT.to_le_bytes()[..], &2_u64.to_le_bytes(), &text("yes"), &text("no")].concat();
    let mut bytes = std::fs::read(fixture::folder("gguf/qwen3.gguf")).unwrap();
    with_key(&mut bytes, "qwen3.pooling_type", U32, &3_u32.to_le_bytes());
    with_key(&mut bytes, "qwen3.classifier.output_labels", LIST, &labels);
    with_key(&mut bytes, "qwen3.attention.causal", FLAG, &[1]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let load = |path: &Path| {
        let origin = Origin::of_folder(path);
        Model::load(origin, FloatFormat::F32, &inject_testing::any_device()).unwrap().decoder
    };
    let [found, expected] = [path, fixture::folder("gguf/qwen3.gguf")].map(|path| load(&path));
    assert_eq!(found.config(), expected.config());
}

#[test]
fn attention_to_later_tokens_is_refused() {
    bad_key(
        "qwen3.gguf",
        &["key `qwen3.attention.causal` is false, expected true: attention to later tokens"],
        |bytes| with_key(bytes, "qwen3.attention.causal", FLAG, &[0]),
    );
}

#[test]
fn a_setting_of_another_type_is_refused() {
    bad_key("llama.gguf", &["key `llama.block_count` is", "expected a whole number"], |bytes| {
        // From U32 to F32.
        let kind = after(bytes, "llama.block_count");
        bytes[kind] = 6;
    });
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    for number in [f32::NAN, f32::INFINITY] {
        for (file, key) in [
            ("llama.gguf", "llama.attention.layer_norm_rms_epsilon"),
            ("llama-linear.gguf", "llama.rope.scaling.factor"),
        ] {
            bad_key(file, &[&format!("key `{key}` is"), "expected a finite number"], |bytes| {
                set(bytes, key, &number.to_le_bytes())
            });
        }
    }
}

#[test]
fn a_size_of_nothing_is_refused() {
    for (file, key) in [
        ("llama.gguf", "llama.attention.head_count"),
        ("llama.gguf", "llama.block_count"),
        ("gpt-neox.gguf", "gptneox.attention.head_count"),
        ("gpt2.gguf", "gpt2.attention.head_count"),
    ] {
        bad_key(file, &[&format!("key `{key}` is 0, expected a whole number above 0")], |bytes| {
            set(bytes, key, &0_u32.to_le_bytes())
        });
    }
}

#[test]
fn a_rotation_of_another_kind_is_refused() {
    bad_key(
        "llama.gguf",
        &["key `llama.rope.dimension_count` is 4, expected the width of a head, 8"],
        |bytes| set(bytes, "llama.rope.dimension_count", &4_u32.to_le_bytes()),
    );
    bad_key(
        "llama-linear.gguf",
        &["key `llama.rope.scaling.type` is \"yarnny\", expected `none` or `linear`"],
        |bytes| {
            let begin = after(bytes, "llama.rope.scaling.type") + 4 + 8;
            bytes[begin..begin + 6].copy_from_slice(b"yarnny");
        },
    );
    bad_key(
        "phi4.gguf",
        &["key `phi3.rope.scaling.type` is \"yarn\", expected `none` or `longrope`"],
        |bytes| with_key(bytes, "phi3.rope.scaling.type", TEXT, &text("yarn")),
    );
}

#[test]
fn a_part_of_several_files_is_refused() {
    let mut file = std::fs::read(fixture::folder("gguf/llama.gguf")).unwrap();
    // The name of the model is a text of the same length as the new key and value.
    let begin = after(&file, "general.name") - "general.name".len() - 8;
    let name = "llama-bf16-shards";
    let end = after(&file, name);
    let key = [&11_u64.to_le_bytes(), b"split.count".as_slice(), &2_u32.to_le_bytes(), &3_u16.to_le_bytes()]
        .concat();
    let filler = (end - begin - key.len()).checked_sub(8 + 4 + 8).unwrap();
    let filler = [text(&"x".repeat(filler)), TEXT.to_le_bytes().to_vec(), text("")].concat();
    file.splice(begin..end, [key, filler].concat());
    let keys = u64::from_le_bytes(file[16..24].try_into().unwrap()) + 1;
    file[16..24].copy_from_slice(&keys.to_le_bytes());
    let (_folder, path, error) = load(&file);
    says_all(&error, &path, &["key `split.count` is 3", "llama-gguf-split --merge"]);
}

#[test]
fn all_problems_of_the_settings_are_named_at_once() {
    let edit = |bytes: &mut Vec<u8>| {
        with_key(bytes, "llama.rope.scaling.type", TEXT, &text("yarn"));
        with_key(bytes, "llama.expert_count", U32, &8_u32.to_le_bytes());
        with_key(bytes, "llama.attention.causal", FLAG, &[0]);
        with_key(bytes, "llama.unknown", FLAG, &[0]);
        with_key(bytes, "split.count", U32, &3_u32.to_le_bytes());
    };
    let says = [
        "5 problems",
        "key `llama.rope.scaling.type` is \"yarn\"",
        "key `llama.expert_count` is 8",
        "key `llama.attention.causal` is false",
        "key `llama.unknown` is false",
        "key `split.count` is 3",
    ];
    bad_key("llama.gguf", &says, edit);
    // One that is missing brings no others with it.
    let says = ["gguf: key `llama.embedding_length` is missing"];
    bad_key("llama.gguf", &says, |bytes| hide(bytes, "llama.embedding_length"));
}

/// Some problems are found in the metadata, others in the config that they are translated into.
#[test]
fn problems_of_the_metadata_hide_none_of_the_description() {
    let edit = |bytes: &mut Vec<u8>| {
        with_key(bytes, "llama.unknown", FLAG, &[0]);
        with_key(bytes, "llama.attention.value_length", U32, &99_u32.to_le_bytes());
        set(bytes, "llama.attention.head_count_kv", &3_u32.to_le_bytes());
    };
    let says = [
        "3 problems",
        "key `llama.unknown` is false",
        "key `llama.attention.value_length` is 99, expected the key_length",
        "key `llama.attention.head_count_kv` is 3, expected a divisor",
    ];
    bad_key("llama.gguf", &says, edit);
    // What follows from a missing value is not judged.
    for (file, key) in [
        ("llama.gguf", "llama.embedding_length"),
        ("llama.gguf", "llama.attention.head_count"),
        ("llama.gguf", "llama.block_count"),
        ("gemma2.gguf", "gemma2.block_count"),
        ("gemma3.gguf", "gemma3.attention.head_count"),
        ("gpt-neox.gguf", "gptneox.embedding_length"),
        ("gpt-neox.gguf", "gptneox.attention.head_count"),
        ("gpt-neox.gguf", "gptneox.rope.dimension_count"),
        ("phi3.gguf", "phi3.attention.head_count"),
        ("phi3.gguf", "phi3.context_length"),
        ("gpt2.gguf", "gpt2.embedding_length"),
    ] {
        bad_key(file, &[&format!("gguf: key `{key}` is missing")], |bytes| hide(bytes, key));
    }
}

#[test]
fn a_factor_beside_those_of_a_tensor_is_refused_unless_it_changes_nothing() {
    let with = |key: &str, kind: u32, value: &[u8]| {
        let mut bytes = std::fs::read(fixture::folder("gguf/llama3-scaling.gguf")).unwrap();
        with_key(&mut bytes, key, kind, value);
        bytes
    };
    let one = 1_f32.to_le_bytes();
    let neutral = [
        with("llama.rope.scaling.type", TEXT, &text("none")),
        with("llama.rope.scaling.type", TEXT, &text("linear")),
        with("llama.rope.scaling.factor", FLOAT32, &one),
        with("llama.rope.scaling.attn_factor", FLOAT32, &one),
    ];
    let config = |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).unwrap();
        let origin = inject_models::Origin::of_folder(&path);
        let model = inject_models::Model::load(
            origin,
            inject_models::FloatFormat::F32,
            &inject_testing::any_device(),
        );
        model.unwrap().decoder.config().clone()
    };
    let plain = config(&std::fs::read(fixture::folder("gguf/llama3-scaling.gguf")).unwrap());
    for bytes in neutral {
        assert_eq!(config(&bytes), plain);
    }
    // A tensor that stands for two keys of the config is named once.
    let shorter = |bytes: &mut Vec<u8>| {
        let begin = after(bytes, "rope_freqs.weight") + 4;
        assert_eq!(bytes[begin], 8);
        bytes[begin] = 7;
    };
    bad_key("llama3-scaling.gguf", &["gguf: key `rope_freqs.weight` is [", "expected 8 factors"], shorter);
    let says =
        ["key `llama.rope.scaling.factor` is 4", "beside those of `rope_freqs.weight` is not computed"];
    bad_key("llama3-scaling.gguf", &says, |bytes| {
        with_key(bytes, "llama.rope.scaling.factor", FLOAT32, &4_f32.to_le_bytes())
    });
}

#[test]
fn errors_name_keys_and_tensors_as_the_file_does() {
    let three = 3_u32.to_le_bytes();
    let says = ["key `llama.attention.head_count_kv` is 3, expected a divisor"];
    bad_key("llama.gguf", &says, |bytes| set(bytes, "llama.attention.head_count_kv", &three));

    let mut bytes = std::fs::read(fixture::folder("gguf").join("llama.gguf")).unwrap();
    rename(&mut bytes, "blk.1.attn_q.weight");
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, &["`blk.1.attn_q.weight` is missing", "`blk.1.attn_q.weigh~` ["]);

    let mut bytes = std::fs::read(fixture::folder("gguf").join("gpt2.gguf")).unwrap();
    set(&mut bytes, "gpt2.feed_forward_length", &three);
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, &["`blk.0.ffn_up.weight` has shape", "`blk.0.ffn_down.weight` has shape"]);
    assert!(!error.to_string().contains("transformer.h"), "{error}");
}
