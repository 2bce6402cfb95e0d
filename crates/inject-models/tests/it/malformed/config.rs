//! Faults of config.json.

use inject_models::{ConfigProblem, Logits, ModelError, Note, Tap, TokenBatch, config::NormConfig};
use serde_json::{Value, json};

use super::Checkpoint;

/// More than any list could hold, within what a JSON number can say exactly.
const ABSURD: u64 = 1 << 60;

#[test]
fn a_folder_without_config_is_refused() {
    let error =
        Checkpoint::copy_of("llama").without_file("config.json").error("config.json", &["cannot read"]);
    assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_config_is_refused_and_not_waited_for() {
    let checkpoint = Checkpoint::copy_of("llama").without_file("config.json");
    let made = std::process::Command::new("mkfifo").arg(checkpoint.path("config.json")).status();
    assert!(made.unwrap().success());
    let (send, receive) = std::sync::mpsc::channel();
    // Its reader would wait for ever, and the thread with it.
    std::thread::spawn(move || {
        checkpoint.error("config.json", &["cannot read", "expected an ordinary file"]);
        send.send(()).unwrap();
    });
    receive.recv_timeout(std::time::Duration::from_secs(60)).expect("an error");
}

#[test]
fn a_config_that_is_not_json_is_refused() {
    for text in ["", "{\"model_type\": \"llama\",", "model_type: llama", "{,}"] {
        let error =
            Checkpoint::copy_of("llama").with_file("config.json", text).error("config.json", &["line 1"]);
        assert!(matches!(error, ModelError::Json { .. }), "{text}: {error:?}");
    }
}

#[test]
fn constants_that_are_not_json_are_refused_where_they_are_read() {
    let config = |key: &str| {
        Checkpoint::copy_of("llama").with_bytes("config.json", |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            *bytes = text.replacen('{', &format!("{{\"{key}\": NaN, "), 1).into_bytes();
        })
    };
    Checkpoint::copy_of("llama").with_key("rms_norm_eps", "NaN").bad_key(
        "rms_norm_eps",
        "\"NaN\"",
        "a number",
    );
    assert!(matches!(config("neftune").load().unwrap().notes(), [Note::UnreadKeys { .. }]));
}

#[test]
fn a_config_that_is_not_an_object_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_file("config.json", "[1, 2]");
    let error = checkpoint.error("config.json", &["invalid type: sequence", "expected a map"]);
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
}

#[test]
fn a_config_that_is_not_text_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_file("config.json", [0x80, 0xff, 0x00]);
    let error = checkpoint.error("config.json", &["UTF-8"]);
    assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
}

#[test]
fn an_unknown_model_type_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("model_type", "mamba");
    let problem = checkpoint.problem(&["`model_type`", "`mamba`", "gpt2, gpt_neo, llama", "phi3"]);
    assert!(matches!(problem, ConfigProblem::UnknownFamily { found, .. } if found == "mamba"));
}

#[test]
fn a_config_without_model_type_is_refused_where_it_leaves_doubt() {
    let problem =
        Checkpoint::copy_of("llama").without_key("model_type").without_key("architectures").problem(&[
            "`model_type` is missing",
            "expected one of gpt2, gpt_neo, llama",
            r#"add a line such as "model_type": "llama""#,
        ]);
    assert!(matches!(problem, ConfigProblem::Missing { .. }), "{problem:?}");
}

#[test]
fn problems_that_do_not_depend_on_the_family_are_named_without_one() {
    let with = |model_type: Value| {
        let classes = json!({"AutoModelForCausalLM": "modeling_x.XForCausalLM", "AutoModel": "m.LlamaModel", "AutoConfig": "c.X"});
        let quantisation = json!({"quant_method": "gptq", "bits": 4});
        let checkpoint = Checkpoint::copy_of("llama").with_key("architectures", json!(["XForCausalLM"]));
        let checkpoint = checkpoint.with_key("model_type", model_type).with_key("auto_map", classes);
        checkpoint.with_key("quantization_config", quantisation).problems(&["GPTQ, 4 bits"])
    };
    for model_type in [json!("mamba"), json!(null)] {
        let problems = with(model_type);
        let keys: Vec<&str> = problems.iter().map(ConfigProblem::key).collect();
        assert_eq!(keys, ["model_type", "auto_map.AutoModelForCausalLM", "quantization_config"]);
    }
}

#[test]
fn a_missing_key_is_named() {
    for (case, name) in [
        ("gpt2", "n_embd"),
        ("gpt-neo", "num_heads"),
        ("llama", "hidden_size"),
        ("mistral", "num_hidden_layers"),
        ("gemma3", "intermediate_size"),
        ("phi4", "vocab_size"),
    ] {
        let problem = Checkpoint::copy_of(case)
            .without_key(name)
            .problem(&[&format!("`{name}` is missing"), "expected a whole number"]);
        assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == name), "{case}");
    }
}

#[test]
fn a_missing_key_of_a_nested_object_is_named_with_its_path() {
    let problem = Checkpoint::copy_of("llama")
        .with_key("rope_parameters", json!({"rope_type": "linear"}))
        .problem(&["`rope_parameters.factor` is missing", "expected a number"]);
    assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == "rope_parameters.factor"));

    let problem = Checkpoint::copy_of("gemma3-multimodal")
        .without_key("text_config")
        .problem(&["`text_config` is missing", "expected an object"]);
    assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == "text_config"));
}

#[test]
fn a_key_of_the_wrong_type_is_refused() {
    let llama = |key: &str, value| Checkpoint::copy_of("llama").with_key(key, value);
    llama("hidden_size", json!("32")).bad_key("hidden_size", "\"32\"", "a whole number");
    llama("hidden_size", json!(32.5)).bad_key("hidden_size", "32.5", "a whole number");
    llama("hidden_size", json!(-32)).bad_key("hidden_size", "-32", "a whole number");
    llama("rms_norm_eps", json!([1])).bad_key("rms_norm_eps", "[1]", "a number");
    llama("hidden_act", json!(3)).bad_key("hidden_act", "3", "a string");
    llama("mlp_bias", json!(1)).bad_key("mlp_bias", "1", "a boolean");
    llama("rope_parameters", json!("none")).bad_key("rope_parameters", "\"none\"", "an object");
    llama("bos_token_id", json!("<s>")).bad_key("bos_token_id", "\"<s>\"", "a whole number");
    llama("model_type", json!(["llama"])).bad_key("model_type", "[\"llama\"]", "a string");
}

#[test]
fn a_size_of_zero_is_refused() {
    for (case, name) in [
        ("gpt2", "n_head"),
        ("gpt-neo", "window_size"),
        ("llama", "num_hidden_layers"),
        ("mistral", "sliding_window"),
        ("gemma3", "head_dim"),
        ("phi4", "num_key_value_heads"),
    ] {
        Checkpoint::copy_of(case).with_key(name, 0).bad_key(name, "0", "a size from 1 to");
    }
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_allocated() {
    let absurd = ABSURD.to_string();
    for (case, name) in [
        ("gpt2", "n_layer"),
        ("gpt2", "n_positions"),
        ("gpt-neo", "num_layers"),
        ("llama", "num_hidden_layers"),
        ("llama", "vocab_size"),
        ("mistral", "num_attention_heads"),
        ("gemma3", "head_dim"),
        ("phi4", "intermediate_size"),
    ] {
        Checkpoint::copy_of(case).with_key(name, ABSURD).bad_key(name, &absurd, "a size from 1 to");
    }
    let too_deep = Checkpoint::copy_of("llama").with_key("num_hidden_layers", 100_000);
    too_deep.bad_key("num_hidden_layers", "100000", "at most 4096 layers");
}

#[test]
fn the_largest_sizes_let_through_are_compared_with_the_weights_before_anything_is_allocated() {
    let largest = 1 << 24;
    for name in ["vocab_size", "hidden_size"] {
        let error = Checkpoint::copy_of("llama")
            .with_key(name, largest)
            .error("model.safetensors", &["`model.embed_tokens.weight`", "[97, 32]", "16777216"]);
        assert!(matches!(error, ModelError::TensorShape { .. } | ModelError::Tensors { .. }), "{error:?}");
    }
    let error = Checkpoint::copy_of("llama")
        .with_key("num_attention_heads", largest)
        .with_key("head_dim", largest)
        .error("model.safetensors", &["q_proj.weight`", "[32, 32]", "[281474976710656, 32]"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

/// A rotary model has no table of positions, so a large number of them is bookkeeping.
#[test]
fn a_length_that_no_tensor_has_may_be_large() {
    let large = 1_u64 << 40;
    for case in
        ["llama", "mistral", "gemma3", "gemma2", "phi3", "qwen2", "qwen3", "gpt-neox", "smollm3", "olmo2"]
    {
        let known = Checkpoint::copy_of(case).load().unwrap();
        let model = Checkpoint::copy_of(case).with_key("max_position_embeddings", large).load().unwrap();
        assert_eq!(model.decoder.config(), known.decoder.config(), "{case}");
    }
    let window = Checkpoint::copy_of("mistral-full").with_key("sliding_window", large).load().unwrap();
    let prompt = TokenBatch::new(&[[3, 1, 4, 1, 5, 9]]).unwrap();
    window.decoder.forward(&prompt, &[Tap::FinalNorm], Logits::None).unwrap();
    let beyond = Checkpoint::copy_of("llama").with_key("max_position_embeddings", (1_u64 << 53) + 2);
    beyond.bad_key("max_position_embeddings", "9007199254740994", "a length from 1 to 9007199254740992");
    // Here the number is that of the rows of a tensor.
    Checkpoint::copy_of("gpt2").with_key("n_positions", large).bad_key(
        "n_positions",
        &large.to_string(),
        "a size",
    );
    Checkpoint::copy_of("gpt2").with_key("n_positions", 60).error("model.safetensors", &["wpe.weight", "60"]);
}

#[test]
fn a_last_state_before_the_final_norm_is_noted() {
    let notes = |case: &str, tie: bool| {
        Checkpoint::copy_of(case).with_key("tie_last_hidden_states", tie).load().unwrap().notes().to_vec()
    };
    assert_eq!(notes("llama", false), [Note::LastState]);
    assert_eq!(notes("llama", true), []);
    // The class of this family does not ask.
    assert_eq!(notes("gpt-neo", false), []);
}

#[test]
fn a_key_that_announces_another_computation_is_refused_with_its_reason() {
    for (case, key, value, reason) in [
        (
            "llama",
            "rope_interleaved",
            json!(true),
            "false: other values mean a rotation of neighbouring coordinates",
        ),
        ("llama", "residual_multiplier", json!(0.22), "1: other values mean a factor on each branch"),
        ("mistral", "embedding_multiplier", json!(12.0), "1: other values mean a factor on the embeddings"),
        ("phi3", "logits_scaling", json!(8), "1: other values mean a factor on the logits"),
        ("llama", "use_bidirectional_attention", json!(true), "attention to later tokens"),
        ("gpt2", "is_causal", json!(false), "true: other values mean attention to later tokens"),
        ("gpt-neo", "is_encoder_decoder", json!(true), "an encoder beside the decoder"),
        ("llama", "per_layer_config", json!({"0": {"num_attention_heads": 2}}), "layers of different shapes"),
        ("gpt2", "pruned_heads", json!({"1": [0]}), "layers with fewer heads"),
    ] {
        Checkpoint::copy_of(case).with_key(key, value.clone()).bad_key(key, &value.to_string(), reason);
    }
    let axes = Checkpoint::copy_of("llama").with_key("rope_parameters.mrope_section", json!([2, 1, 1]));
    axes.bad_key("rope_parameters.mrope_section", "[2,1,1]", "rotary positions of several axes");
}

#[test]
fn a_key_that_announces_nothing_loads_without_a_note() {
    let model = Checkpoint::copy_of("llama")
        .with_key("rope_interleaved", false)
        .with_key("residual_multiplier", 1)
        .with_key("pruned_heads", json!({}))
        .with_key("temperature", 1.0)
        .with_key("per_layer_config", json!(null))
        .with_key("rope_parameters.mrope_section", json!(null))
        .load()
        .unwrap();
    assert_eq!(model.notes(), []);
}

#[test]
fn modelling_code_of_the_checkpoints_own_is_refused() {
    let own = |class: &str| {
        let map = json!({"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": class});
        Checkpoint::copy_of("phi3").with_key("auto_map", map)
    };
    // Code that has become a class of transformers.
    own("modeling_phi3.Phi3ForCausalLM").load().unwrap();
    own("microsoft/Phi-3--modeling_phi3.Phi3ForCausalLM").load().unwrap();
    let wanted = "a class of transformers' own `phi3`: other code computes other states";
    for class in ["modeling_mine.MyPhi3ForCausalLM", "modeling_llama.LlamaForCausalLM"] {
        own(class).bad_key("auto_map.AutoModelForCausalLM", &format!("\"{class}\""), wanted);
    }
}

#[test]
fn all_problems_of_a_file_are_named_at_once() {
    let problems = Checkpoint::copy_of("llama")
        .with_key("rope_interleaved", true)
        .with_key("residual_multiplier", 0.22)
        .with_key("rope_parameters.rope_type", "yarn")
        .with_key("hidden_act", "quick_gelu")
        .with_key("auto_map", json!({"AutoModel": "mine.Mine"}))
        .without_key("intermediate_size")
        .without_key("hidden_size")
        .problems(&["7 problems: key `", "; key `"]);
    let expected = [
        "auto_map.AutoModel",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "residual_multiplier",
        "rope_interleaved",
        "rope_parameters.rope_type",
    ];
    assert_eq!(keys_of(&problems), expected);
}

/// The keys that are named as problems, in order.
fn keys_of(problems: &[ConfigProblem]) -> Vec<&str> {
    let mut keys: Vec<&str> = problems.iter().map(ConfigProblem::key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_problem_that_decides_what_else_is_read_hides_no_other() {
    // Each of the first has to do with keys that are read after it, or beside it.
    let firsts = [
        ("rope_scaling", json!({"type": "dynamic", "factor": 2.0}), "rope_scaling.type"),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0}), "rope_scaling.rope_type"),
        ("rope_scaling", json!({"type": "linear", "factor": -2.0}), "rope_scaling.factor"),
        ("rope_scaling", json!({"type": "llama3", "factor": 8.0}), "rope_scaling.low_freq_factor"),
        ("rope_scaling", json!({"type": "longrope", "short_factor": [1.0]}), "rope_scaling.short_factor"),
        ("rope_theta", json!(0), "rope_theta"),
        ("partial_rotary_factor", json!(0.01), "partial_rotary_factor"),
        ("num_attention_heads", json!(5), "hidden_size"),
        ("quantization_config", json!({"quant_method": "aqlm", "bits": 2}), "quantization_config"),
        ("compression_config", json!({"quant_method": "gptq", "bits": 4}), "quantization_config"),
        ("auto_map", json!({"AutoModel": "mine.Mine"}), "auto_map.AutoModel"),
    ];
    for (key, value, named) in firsts {
        let problems = Checkpoint::copy_of("llama")
            .with_key("rope_parameters", json!({}))
            .with_key("head_dim", json!(null))
            .with_key("num_key_value_heads", 1)
            .with_key(key, value.clone())
            .with_key("hidden_act", "quick_gelu")
            .with_key("attention_bias", 3)
            .with_key("residual_multiplier", 0.22)
            .problems(&[]);
        let keys = keys_of(&problems);
        for expected in [named, "hidden_act", "attention_bias", "residual_multiplier"] {
            assert!(keys.contains(&expected), "{key} {value}: no {expected} in {problems:?}");
        }
    }
}

#[test]
fn a_quantisation_that_is_not_read_is_named_with_the_other_problems() {
    let quantised = Checkpoint::copy_of("llama").with_key(
        "quantization_config",
        json!({"quant_method": "hqq",
            "quant_config": {"weight_quant_params": {"nbits": 4}}}),
    );
    // By itself it is found where the weights are.
    let error = quantised.error("model.safetensors", &["(HQQ, 4 bits), which is not read"]);
    assert!(matches!(error, ModelError::Quantised { .. }), "{error:?}");
    let problems = quantised
        .with_key("hidden_act", "quick_gelu")
        .problems(&["2 problems", "the weights are quantised (HQQ, 4 bits), which is not read"]);
    assert_eq!(keys_of(&problems), ["hidden_act", "quantization_config"]);
    // bitsandbytes is read.
    let read = Checkpoint::copy_of("llama")
        .with_key("quantization_config", json!({"quant_method": "bitsandbytes", "load_in_4bit": true}))
        .with_key("hidden_act", "quick_gelu");
    assert_eq!(keys_of(&read.problems(&[])), ["hidden_act"]);
}

#[test]
fn problems_within_the_text_part_are_named_with_those_outside() {
    let problems = Checkpoint::copy_of("gemma3-multimodal")
        .with_key("use_bidirectional_attention", true)
        .with_key("text_config.hidden_activation", "quick_gelu")
        .with_key("text_config.layer_types", json!(["full_attention"]))
        .with_key("text_config.num_key_value_heads", 3)
        .problems(&[]);
    let expected = [
        "text_config.hidden_activation",
        "text_config.layer_types",
        "text_config.num_key_value_heads",
        "use_bidirectional_attention",
    ];
    assert_eq!(keys_of(&problems), expected);
}

#[test]
fn what_follows_from_another_problem_is_not_a_problem() {
    // With a stand-in for the number of layers, the seven kinds would be too many.
    let problem = Checkpoint::copy_of("gemma3").without_key("num_hidden_layers").problem(&[]);
    assert_eq!(problem.key(), "num_hidden_layers");
}

#[test]
fn two_spellings_of_a_key_must_agree() {
    let spelt = |width: u64| Checkpoint::copy_of("gpt2").with_key("hidden_size", width);
    spelt(24).load().unwrap();
    spelt(24).without_key("n_embd").load().unwrap();
    spelt(32).contradiction(["hidden_size", "n_embd"], ["32", "24"]);
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("hidden_size", "x".repeat(10_000));
    assert!(checkpoint.error("config.json", &["`hidden_size`", "xxx..."]).to_string().len() < 1000);
}

#[test]
fn other_names_of_an_activation_are_understood() {
    for (case, key, names) in [
        ("gpt2", "activation_function", &["gelu_fast", "gelu_accurate", "gelu_python_tanh"][..]),
        ("gpt-neox", "hidden_act", &["gelu_python"]),
        ("llama", "hidden_act", &["swish"]),
    ] {
        let expected = Checkpoint::copy_of(case).load().unwrap();
        for name in names {
            let found = Checkpoint::copy_of(case).with_key(key, *name).load().unwrap();
            assert_eq!(found.decoder.config(), expected.decoder.config(), "{case}: {name}");
        }
    }
}

/// The first Llama has `max_sequence_length` in its place, which nobody reads.
#[test]
fn a_missing_length_is_that_of_the_reference() {
    for case in ["llama", "mistral", "phi3"] {
        let expected = Checkpoint::copy_of(case).load().unwrap();
        let found = Checkpoint::copy_of(case).without_key("max_position_embeddings").load().unwrap();
        assert_eq!(found.decoder.config(), expected.decoder.config(), "{case}");
    }
}

#[test]
fn an_unknown_activation_is_refused() {
    for (case, key) in
        [("gpt2", "activation_function"), ("llama", "hidden_act"), ("gemma3", "hidden_activation")]
    {
        Checkpoint::copy_of(case).with_key(key, "quick_gelu").bad_key(
            key,
            "\"quick_gelu\"",
            "`gelu_new`, `gelu_pytorch_tanh`, `gelu`, `silu` or `relu`",
        );
    }
}

#[test]
fn a_soft_cap_that_is_not_positive_is_refused() {
    for (case, key) in [
        ("gemma2", "attn_logit_softcapping"),
        ("gemma2", "final_logit_softcapping"),
        ("gemma3", "final_logit_softcapping"),
    ] {
        Checkpoint::copy_of(case).with_key(key, 0.0).bad_key(key, "0.0", "a positive number or null");
    }
}

/// transformers' class has both keys, but its attention never caps a score: `Gemma3Attention.forward` in modeling_gemma3.py, 5.24.
#[test]
fn of_the_soft_caps_of_gemma_3_that_of_the_logits_counts() {
    let checkpoint = Checkpoint::copy_of("gemma3")
        .with_key("attn_logit_softcapping", 50.0)
        .with_key("final_logit_softcapping", 30.0);
    let model = checkpoint.load().unwrap();
    let config = model.decoder.config();
    assert_eq!(config.logit_cap, Some(30.0));
    assert!(config.blocks.iter().all(|block| block.attention.score_cap.is_none()));
}

#[test]
fn bidirectional_attention_is_refused() {
    let checkpoint = Checkpoint::copy_of("gemma3").with_key("use_bidirectional_attention", true);
    checkpoint.bad_key("use_bidirectional_attention", "true", "false");
}

#[test]
fn cross_attention_is_refused() {
    let checkpoint = Checkpoint::copy_of("gpt2").with_key("add_cross_attention", true);
    checkpoint.bad_key("add_cross_attention", "true", "false");
}

/// transformers reads the weights from the file that this key names.
#[test]
fn weights_in_a_file_that_the_config_names_are_refused() {
    let with = |file: &str| Checkpoint::copy_of("llama").with_key("transformers_weights", file);
    with("other.safetensors").bad_key(
        "transformers_weights",
        "\"other.safetensors\"",
        "\"model.safetensors\"",
    );
    assert_eq!(with("model.safetensors").load().unwrap().notes(), []);
}

/// transformers' class of the whole has a head of its own, which reads neither key of the text part.
#[test]
fn the_head_of_a_multimodal_file_does_not_read_the_text_part() {
    let whole = || Checkpoint::copy_of("gemma3-multimodal");
    let model = whole()
        .with_key("text_config.final_logit_softcapping", 30.0)
        .with_key("text_config.tie_word_embeddings", false)
        .load()
        .unwrap();
    assert_eq!(model.decoder.config(), whole().load().unwrap().decoder.config());
    let keys = ["text_config.final_logit_softcapping", "text_config.tie_word_embeddings"];
    let keys = keys.map(str::to_owned).to_vec();
    assert_eq!(model.notes(), [inject_models::Note::UnreadKeys { keys }]);
}

#[test]
fn layers_with_a_window_need_one() {
    let kinds = json!(["sliding_attention", "full_attention", "sliding_attention"]);
    let qwen2 =
        Checkpoint::copy_of("qwen2").with_key("layer_types", kinds).with_key("use_sliding_window", false);
    qwen2.bad_key("use_sliding_window", "false", "`layer_types` has sliding layers");
    let gemma3 = Checkpoint::copy_of("gemma3").with_key("sliding_window", json!(null));
    gemma3.bad_key("sliding_window", "null", "a number of keys: there are layers with a window");
}

#[test]
fn the_older_name_of_full_attention_is_read() {
    let config = |kind: &str| {
        let kinds = json!([kind, kind, kind]);
        let model = Checkpoint::copy_of("qwen2").with_key("layer_types", kinds).load().unwrap();
        model.decoder.config().clone()
    };
    assert_eq!(config("attention"), config("full_attention"));
}

#[test]
fn biases_that_phi_does_not_have_are_refused() {
    for key in ["attention_bias", "mlp_bias", "lm_head_bias"] {
        Checkpoint::copy_of("phi4").with_key(key, true).bad_key(key, "true", "false");
    }
}

#[test]
fn key_value_heads_that_do_not_divide_the_heads_are_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("num_key_value_heads", 3);
    checkpoint.bad_key("num_key_value_heads", "3", "a divisor of the 4 heads");
}

#[test]
fn heads_that_do_not_split_the_width_evenly_are_refused() {
    let checkpoint = Checkpoint::copy_of("gpt2").with_key("n_head", 5);
    checkpoint.bad_key("n_embd", "24", "a multiple of the 5 heads");
    let checkpoint = Checkpoint::copy_of("gpt-neo").with_key("num_heads", 5);
    checkpoint.bad_key("hidden_size", "24", "a multiple of the 5 heads");
    let checkpoint = Checkpoint::copy_of("llama3-scaling").with_key("num_attention_heads", 5);
    checkpoint.bad_key("hidden_size", "32", "a multiple of the 5 heads");
}

#[test]
fn layer_types_of_the_wrong_length_are_refused() {
    let kinds = json!(["sliding_attention", "full_attention"]);
    let checkpoint = Checkpoint::copy_of("gemma3").with_key("layer_types", kinds);
    checkpoint.bad_key(
        "layer_types",
        r#"["sliding_attention","full_attention"]"#,
        "one kind for each of the 7 layers",
    );
}

#[test]
fn an_unknown_layer_type_is_refused() {
    let checkpoint = Checkpoint::copy_of("gemma3").with_key("layer_types", json!(["chunked_attention"]));
    checkpoint.bad_key(
        "layer_types",
        "[\"chunked_attention\"]",
        "one of `sliding_attention`, `attention`, `full_attention`",
    );
    let checkpoint = Checkpoint::copy_of("gpt-neo").with_key("attention_layers", json!(["linear"]));
    checkpoint.bad_key("attention_layers", "[\"linear\"]", "`global` or `local`");
}

#[test]
fn attention_types_of_the_wrong_length_are_refused() {
    let wanted = "one kind for each of the 4 layers";
    let types = json!([[["global"], 3]]);
    let checkpoint =
        Checkpoint::copy_of("gpt-neo").without_key("attention_layers").with_key("attention_types", types);
    checkpoint.bad_key("attention_types", "[\"global\",\"global\",\"global\"]", wanted);
    let checkpoint = Checkpoint::copy_of("gpt-neo").with_key("attention_layers", json!(["local"]));
    checkpoint.bad_key("attention_layers", "[\"local\"]", wanted);
}

#[test]
fn attention_types_repeated_without_end_are_refused_at_once() {
    let with_types = |types| {
        Checkpoint::copy_of("gpt-neo").without_key("attention_layers").with_key("attention_types", types)
    };
    let five = r#"["global","global","global","global","global"]"#;
    with_types(json!([[["global"], ABSURD]])).bad_key("attention_types", five, "the 4 layers");
    with_types(json!([[[], ABSURD]])).bad_key("attention_types", "[]", "the 4 layers");
}

#[test]
fn a_norm_or_scale_that_is_not_positive_is_refused() {
    let eps = |eps: f64| Checkpoint::copy_of("llama").with_key("rms_norm_eps", eps);
    eps(-1e-6).bad_key("rms_norm_eps", "-1e-6", "a number from 0 on");
    // transformers computes with 0 too.
    let model = eps(0.0).load().unwrap();
    assert!(matches!(model.decoder.config().final_norm, NormConfig::Rms { eps: 0.0, .. }));
    let scale = Checkpoint::copy_of("gemma3").with_key("query_pre_attn_scalar", -3.0);
    scale.bad_key("query_pre_attn_scalar", "-3.0", "a positive number");
}

#[test]
fn a_config_in_another_encoding_is_refused_by_its_name() {
    let text = "\u{feff}{\"model_type\": \"llama\"}";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, says) in
        [(utf16, "it is in UTF-16: save it as UTF-8"), (vec![b'{', 0xff], "it is not in UTF-8")]
    {
        let error =
            Checkpoint::copy_of("llama").with_file("config.json", bytes).error("config.json", &[says]);
        assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
    }
}

#[test]
fn the_ways_in_which_transformers_computes_are_not_noted() {
    for key in ["_attn_implementation", "attn_implementation"] {
        let model = Checkpoint::copy_of("llama").with_key(key, "eager").load().unwrap();
        assert_eq!(model.notes(), [], "{key}");
    }
}

#[test]
fn a_config_longer_than_any_is_refused_unread() {
    let checkpoint = Checkpoint::copy_of("gpt2").with_file("config.json", "");
    // A sparse file: reading it whole would take a terabyte.
    let file = std::fs::File::options().write(true).open(checkpoint.path("config.json")).unwrap();
    if file.set_len(1 << 40).is_err() {
        file.set_len(1 << 26).unwrap();
    }
    checkpoint.error("config.json", &["more than 33554432 bytes"]);
}

#[test]
fn heads_whose_coordinates_do_not_form_pairs_are_refused() {
    for case in ["llama", "qwen2", "gemma3", "olmo2"] {
        let checkpoint = Checkpoint::copy_of(case).with_key("head_dim", 5);
        let error = checkpoint.load().map(|_| ()).expect_err("it loads").to_string();
        assert!(error.contains("`head_dim` is 5, expected an even number"), "{case}: {error}");
    }
}
