//! The settings of a file.

use super::*;

#[test]
fn the_soft_caps_of_a_file_bend_its_scores_and_logits() {
    let with = |key: &str, cap: f32| edited("gemma2", |bytes| set(bytes, key, &cap.to_le_bytes()));
    let found = quantised::computed(&load("gemma2"));
    for key in ["gemma2.attn_logit_softcapping", "gemma2.final_logit_softcapping"] {
        let other = quantised::computed(&with(key, 1e9));
        let furthest = found.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest > 1e-3, "{key}: {furthest}");
    }
}

/// As llama.cpp reads it (`llama_hparams::set_swa_pattern`).
#[test]
fn a_period_of_zero_gives_every_layer_a_window_and_one_of_one_gives_none() {
    let windows = |period: u32| -> Vec<bool> {
        let model = edited("gemma3", |bytes| {
            with_key(bytes, "gemma3.attention.sliding_window_pattern", U32, &period.to_le_bytes());
        });
        let blocks = &model.decoder.config().blocks;
        blocks.iter().map(|block| matches!(block.attention.span, Span::Window(_))).collect()
    };
    assert!(windows(0).iter().all(|windowed| *windowed));
    assert!(windows(1).iter().all(|windowed| !windowed));
    assert_eq!(windows(2).first(), Some(&true));
}

/// As in config.json: transformers' attention of Gemma 3 never caps a score, and its head caps the logits.
#[test]
fn of_the_soft_caps_of_a_gemma3_file_that_of_the_logits_counts() {
    let with = |caps: &[(&str, f32)]| {
        edited("gemma3", |bytes| {
            caps.iter().for_each(|(key, cap)| with_key(bytes, key, FLOAT32, &cap.to_le_bytes()));
        })
    };
    let plain = quantised::computed(&load("gemma3"));
    let (scores, logits) = ("gemma3.attn_logit_softcapping", "gemma3.final_logit_softcapping");
    assert!(quantised::computed(&with(&[(scores, 0.5), (logits, 0.0)])) == plain);
    let capped = with(&[(scores, 50.0), (logits, 0.5)]);
    assert_eq!(capped.decoder.config().logit_cap, Some(0.5));
    assert!(capped.decoder.config().blocks.iter().all(|block| block.attention.score_cap.is_none()));
    assert!(quantised::computed(&capped) != plain);
}

#[test]
fn the_settings_of_a_file_are_those_of_its_checkpoint() {
    for (file, case, key) in [
        ("llama", "llama-bf16-shards", "rms_norm_eps"),
        ("llama-linear", "llama-linear", "rms_norm_eps"),
        ("gpt2", "gpt2-hub-names", "layer_norm_epsilon"),
        ("phi3", "phi3", "rms_norm_eps"),
        ("qwen3", "qwen3", "rms_norm_eps"),
        ("gpt-neox", "gpt-neox", "layer_norm_eps"),
        ("gpt-neox-sequential", "gpt-neox-sequential", "layer_norm_eps"),
        ("olmo2", "olmo2", "rms_norm_eps"),
        ("smollm3", "smollm3", "rms_norm_eps"),
    ] {
        let checkpoint = Checkpoint::copy_of(case).with_key(key, f64::from(1e-3_f32));
        assert_eq!(load(file).decoder.config(), checkpoint.load().unwrap().decoder.config(), "{file}");
    }
}

/// llama.cpp takes a list for a size of the layers (`llama_model_loader::get_key_or_arr`), and the package `gguf` stores whole
/// numbers of Python in lists as signed.
#[test]
fn a_number_of_heads_counts_in_every_form_in_which_it_is_stored() {
    let mut tested = 0;
    for (file, architecture) in
        [("llama", "llama"), ("smollm3", "smollm3"), ("gpt-neox", "gptneox"), ("qwen3", "qwen3")]
    {
        let plain = load(file);
        let expected = parameters(&plain);
        let config = plain.decoder.config();
        let attention = &config.blocks[0].attention;
        for (key, heads) in [("head_count", attention.n_heads), ("head_count_kv", attention.n_kv_heads)] {
            let key = format!("{architecture}.attention.{key}");
            if key == "gptneox.attention.head_count_kv" {
                continue;
            }
            let heads = i32::try_from(heads).unwrap();
            let list = list_of_i32(&vec![heads; config.blocks.len()]);
            for (kind, value) in [(I32, heads.to_le_bytes().to_vec()), (LIST, list)] {
                let found = edited(file, |bytes| replace(bytes, &key, kind, &value));
                assert_eq!(found.decoder.config(), config, "{key} of type {kind}");
                assert!(parameters(&found) == expected, "{key} of type {kind}");
                tested += 1;
            }
        }
    }
    assert_eq!(tested, 14);
}

#[test]
fn an_id_outside_the_vocabulary_is_noted_by_the_key_of_the_file() {
    let found = edited("llama", |bytes| {
        let begin = after(bytes, "tokenizer.ggml.bos_token_id") + 4;
        bytes[begin..begin + 4].copy_from_slice(&9999_u32.to_le_bytes());
    });
    assert_eq!(found.bos_token_id(), None);
    let notes: Vec<String> = found.notes().iter().map(ToString::to_string).collect();
    let says = "key `tokenizer.ggml.bos_token_id` is 9999, which is none of the 97 tokens";
    assert!(notes.iter().any(|note| note.contains(says)), "{notes:?}");
}

#[test]
fn numbers_count_whatever_their_type() {
    let plain = load("llama");
    let found = edited("llama", |bytes| {
        for key in ["llama.rope.dimension_count", "llama.block_count", "tokenizer.ggml.bos_token_id"] {
            // The number of the type stands after the key.
            let kind = after(bytes, key);
            assert_eq!(bytes[kind], U32 as u8);
            bytes[kind] = I32 as u8;
        }
        with_key(bytes, "llama.expert_count", I32, &0_i32.to_le_bytes());
        with_key(bytes, "split.count", I32, &1_i32.to_le_bytes());
        with_key(bytes, "llama.rope.freq_base", U32, &10_000_u32.to_le_bytes());
    });
    assert_eq!(found.decoder.config(), plain.decoder.config());
    let first = |model: &Model| model.tokenizer().unwrap().first_token(Bos::Auto).unwrap();
    assert_eq!((first(&found), first(&plain)), (Some(1), Some(1)));
}

/// Converters write the factor. Without it, it is the one of transformers.
#[test]
fn a_longrope_without_its_factor_for_scores_is_that_of_the_checkpoint() {
    let model = edited("phi4", |bytes| hide(bytes, "phi3.rope.scaling.attn_factor"));
    for golden in ["golden", "golden-long"] {
        let device = inject_testing::any_device();
        parity::check_decoder("phi4", golden, FloatFormat::F32, &device, &model.decoder);
    }
}

/// Adds a tensor of 8 numbers at the end of a file.
fn with_tensor(bytes: &mut Vec<u8>, name: &str) {
    let last = bytes.windows(7).rposition(|window| window == b".weight").unwrap() + 7;
    let dimensions = u32::from_le_bytes(bytes[last..last + 4].try_into().unwrap()) as usize;
    let end = last + 4 + 8 * dimensions + 4 + 8;
    let data = end.next_multiple_of(32);
    let mut stored = bytes.split_off(data);
    stored.resize(stored.len().next_multiple_of(32), 0);
    bytes.truncate(end);
    let f32_format = 0_u32;
    bytes.extend(text(name));
    bytes.extend([&1_u32.to_le_bytes()[..], &8_u64.to_le_bytes(), &f32_format.to_le_bytes()].concat());
    bytes.extend((stored.len() as u64).to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(stored);
    bytes.resize(bytes.len() + 32, 0);
    let count = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) + 1;
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
}

/// Ollama has names of its own for some settings, and keeps the part that sees images in the same file.
#[test]
fn a_file_of_ollama_is_read_as_any_other() {
    let plain = load("gemma3");
    let found = edited("gemma3", |bytes| {
        with_tensor(bytes, "v.patch_embedding.weight");
        with_tensor(bytes, "mm.mm_input_projection.weight");
        for key in ["gemma3.rope.freq_base_swa", "gemma3.rope.freq_base"] {
            hide(bytes, key);
        }
        with_key(bytes, "gemma3.rope.global.freq_base", FLOAT32, &20_000_f32.to_le_bytes());
        with_key(bytes, "gemma3.rope.local.freq_base", FLOAT32, &500_f32.to_le_bytes());
        with_key(bytes, "gemma3.mm.tokens_per_image", U32, &256_u32.to_le_bytes());
        with_key(bytes, "gemma3.vision.attention.head_count", U32, &16_u32.to_le_bytes());
    });
    assert_eq!(found.decoder.config(), plain.decoder.config());
    assert!(parameters(&found) == parameters(&plain));
    for hidden in [false, true] {
        let found = edited("qwen3", |bytes| {
            if hidden {
                hide(bytes, "qwen3.attention.key_length");
            }
            with_key(bytes, "qwen3.attention.head_dim", U32, &12_u32.to_le_bytes());
            with_key(bytes, "qwen3.attention.layer_norm_epsilon", FLOAT32, &1e-3_f32.to_le_bytes());
        });
        assert_eq!(found.decoder.config(), load("qwen3").decoder.config());
    }
}
