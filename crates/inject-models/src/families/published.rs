//! Configs in the spellings of published checkpoints: each loads, and the keys that are not read are noted.

use std::path::Path;

use serde_json::{Value, json};

use super::{Family, describe};
use crate::{
    config::DecoderConfig,
    error::{ConfigProblem, ModelError},
    note::Note,
};

/// Settings that every published Llama has, with small sizes.
fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 576,
        "initializer_range": 0.02, "intermediate_size": 1536, "max_position_embeddings": 8192,
        "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 49152,
        "bos_token_id": 0, "eos_token_id": 0
    })
}

/// Settings that every published GPT-2 has.
fn gpt2() -> Value {
    json!({
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
        "n_layer": 6, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
        "summary_use_proj": true, "vocab_size": 50257
    })
}

fn with(mut config: Value, more: Value) -> Value {
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// The keys of a config that are not read.
fn unread(config: &Value) -> Vec<String> {
    let described = describe(Path::new("config.json"), &config.to_string());
    let described = described.unwrap_or_else(|error| panic!("{error}: {config}"));
    let lists = described.notes.into_iter().filter_map(|note| match note {
        Note::UnreadKeys { keys } => Some(keys),
        _ => None,
    });
    lists.flatten().collect()
}

#[test]
fn published_spellings_load() {
    let cases = [
        // SmolLM2-135M.
        (
            with(
                llama(),
                json!({"is_llama_config": true, "rope_interleaved": false, "rope_scaling": null,
                "rope_theta": 100000, "pretraining_tp": 1, "attention_bias": false, "attention_dropout": 0.0,
                "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}}),
            ),
            vec!["is_llama_config", "transformers.js_config"],
        ),
        // A mirror of Llama 3.2.
        (
            with(
                llama(),
                json!({"unsloth_fixed": true, "rope_theta": 500000.0, "head_dim": 64, "mlp_bias": false,
                "eos_token_id": [128001, 128008], "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
                "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}}),
            ),
            vec!["unsloth_fixed"],
        ),
        // The first Llama.
        (
            with(
                llama(),
                json!({"max_sequence_length": 2048, "pad_token_id": -1, "tie_word_embeddings": false,
                "num_key_value_heads": null, "transformers_version": "4.27.0.dev0"}),
            ),
            vec!["max_sequence_length"],
        ),
        // A merged fine-tune.
        (
            with(
                llama(),
                json!({"_name_or_path": "base", "_attn_implementation_autoset": true, "use_mlp_bias": null,
                "pretraining_tp": 1, "torch_dtype": "float16", "quantization_config": null}),
            ),
            vec![],
        ),
        // gpt2-medium.
        (
            with(
                gpt2(),
                json!({"n_special": 0, "predict_special_tokens": true,
                "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}}),
            ),
            vec!["n_special", "predict_special_tokens"],
        ),
        // gpt2-xl.
        (with(gpt2(), json!({"output_past": true})), vec!["output_past"]),
        // distilgpt2.
        (
            with(gpt2(), json!({"_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}})),
            vec!["_num_labels"],
        ),
        // A full dump of transformers 4.
        (
            with(
                gpt2(),
                json!({"add_cross_attention": false, "bad_words_ids": null, "chunk_size_feed_forward": 0,
                "cross_attention_hidden_size": null, "diversity_penalty": 0.0, "do_sample": false,
                "early_stopping": false, "encoder_no_repeat_ngram_size": 0, "finetuning_task": null,
                "is_decoder": false, "is_encoder_decoder": false, "length_penalty": 1.0, "max_length": 20,
                "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1,
                "num_return_sequences": 1, "output_scores": false, "pruned_heads": {}, "prefix": null,
                "remove_invalid_values": false, "repetition_penalty": 1.0, "return_dict": true,
                "return_dict_in_generate": false, "temperature": 1.0, "tie_encoder_decoder": false,
                "tf_legacy_loss": false, "tokenizer_class": null, "top_k": 50, "top_p": 1.0, "torchscript": false,
                "typical_p": 1.0, "use_bfloat16": false, "scale_attn_weights": true, "n_inner": null}),
            ),
            vec![],
        ),
        // gpt-neo-1.3B.
        (
            json!({"activation_function": "gelu_new", "architectures": ["GPTNeoForCausalLM"], "attention_dropout": 0,
                "attention_layers": ["global", "local"], "attention_types": [[["global", "local"], 1]],
                "bos_token_id": 50256, "embed_dropout": 0, "eos_token_id": 50256, "gradient_checkpointing": false,
                "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": null,
                "layer_norm_epsilon": 1e-5, "max_position_embeddings": 2048, "model_type": "gpt_neo",
                "num_heads": 16, "num_layers": 2, "resid_dropout": 0, "summary_activation": null,
                "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
                "summary_use_proj": true, "tokenizer_class": "GPT2Tokenizer", "use_cache": true,
                "vocab_size": 50257, "window_size": 256}),
            vec![],
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(unread(&config), expected, "{config}");
    }
}

/// A config file, and what must come of it, as `tests/fixtures/published_configs.py` found them.
#[derive(serde::Deserialize)]
struct Published {
    name: String,
    config: Value,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// The sizes that transformers' class has.
    Shape([usize; 7]),
    /// The keys that announce another computation.
    Refused(Vec<String>),
}

fn shape(config: &DecoderConfig) -> [usize; 7] {
    let block = &config.blocks[0];
    let attention = &block.attention;
    [
        config.d_model,
        block.feed_forward.d_ff,
        config.n_layers(),
        attention.n_heads,
        attention.n_kv_heads,
        attention.d_head,
        config.vocab_size,
    ]
}

#[test]
fn collected_configs_have_the_shapes_of_transformers_or_are_refused_for_a_computation() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/published-configs.json");
    let published: Vec<Published> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(published.len() > 100, "{}", published.len());
    for model_type in Family::all().iter().flat_map(|family| family.model_types()) {
        let has = |published: &Published| published.config["model_type"] == *model_type;
        assert!(published.iter().any(has), "no config of {model_type}");
    }
    for Published { name, config, outcome } in published {
        match (describe(Path::new("config.json"), &config.to_string()), outcome) {
            (Ok(described), Outcome::Shape(expected)) => {
                assert_eq!(shape(&described.description.config), expected, "{name}");
            }
            (Err(ModelError::Config { problems, .. }), Outcome::Refused(expected)) => {
                let mut keys: Vec<&str> = problems.iter().map(ConfigProblem::key).collect();
                keys.sort_unstable();
                assert_eq!(keys, expected, "{name}");
            }
            (Ok(_), Outcome::Refused(expected)) => {
                panic!("{name} loads, expected problems with {expected:?}")
            }
            (Err(error), _) => panic!("{name}: {error}"),
        }
    }
}
