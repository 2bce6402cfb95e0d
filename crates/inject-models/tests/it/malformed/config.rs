//! Faults of config.json.

use inject_models::ModelError;
use serde_json::json;

use super::Checkpoint;

/// More than any list could hold, within what a JSON number can say exactly.
const ABSURD: u64 = 1 << 60;

#[test]
fn a_folder_without_config_is_refused() {
    let error =
        Checkpoint::copy_of("llama").without_file("config.json").error("config.json", &["cannot read"]);
    assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
}

#[test]
fn a_config_that_is_not_json_is_refused() {
    for text in ["", "{\"model_type\": \"llama\",", "model_type: llama", "{\"rms_norm_eps\": NaN}"] {
        let error =
            Checkpoint::copy_of("llama").with_file("config.json", text).error("config.json", &["line 1"]);
        assert!(matches!(error, ModelError::Json { .. }), "{text}: {error:?}");
    }
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
    let error = checkpoint.error(
        "config.json",
        &["`model_type`", "`mamba`", "gpt2, gpt_neo, llama, mistral, gemma3_text, gemma3, phi3"],
    );
    assert!(matches!(error, ModelError::UnknownFamily { found, .. } if found == "mamba"));
}

#[test]
fn a_config_without_model_type_is_refused() {
    let error = Checkpoint::copy_of("llama")
        .without_key("model_type")
        .error("config.json", &["`model_type` is missing", "expected one of gpt2, gpt_neo, llama"]);
    assert!(matches!(error, ModelError::MissingKey { .. }), "{error:?}");
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
        let error = Checkpoint::copy_of(case)
            .without_key(name)
            .error("config.json", &[&format!("`{name}` is missing"), "expected a whole number"]);
        assert!(matches!(error, ModelError::MissingKey { key, .. } if key == name), "{case}");
    }
}

#[test]
fn a_missing_key_of_a_nested_object_is_named_with_its_path() {
    let error = Checkpoint::copy_of("llama")
        .with_key("rope_parameters", json!({"rope_type": "linear"}))
        .error("config.json", &["`rope_parameters.factor` is missing", "expected a number"]);
    assert!(matches!(error, ModelError::MissingKey { key, .. } if key == "rope_parameters.factor"));

    let error = Checkpoint::copy_of("gemma3-multimodal")
        .without_key("text_config")
        .error("config.json", &["`text_config` is missing", "expected an object"]);
    assert!(matches!(error, ModelError::MissingKey { key, .. } if key == "text_config"));
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
        assert!(matches!(error, ModelError::TensorShape { .. }), "{error:?}");
    }
    let error = Checkpoint::copy_of("llama")
        .with_key("num_attention_heads", largest)
        .with_key("head_dim", largest)
        .error("model.safetensors", &["q_proj.weight`", "[32, 32]", "[281474976710656, 32]"]);
    assert!(matches!(error, ModelError::TensorShape { .. }), "{error:?}");
}

#[test]
fn an_unknown_key_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("residual_multiplier", 0.22);
    let error = checkpoint.error("config.json", &["`residual_multiplier` = 0.22", "known for `llama`"]);
    assert!(matches!(error, ModelError::UnknownKey { key, .. } if key == "residual_multiplier"));

    let checkpoint = Checkpoint::copy_of("llama").with_key("rope_parameters.mscale", 0.7);
    let error = checkpoint.error("config.json", &["`rope_parameters.mscale` = 0.7", "known for"]);
    assert!(matches!(error, ModelError::UnknownKey { key, .. } if key == "rope_parameters.mscale"));
}

#[test]
fn an_unknown_key_that_is_null_is_ignored() {
    Checkpoint::copy_of("llama")
        .with_key("residual_multiplier", json!(null))
        .with_key("rope_parameters.mscale", json!(null))
        .load()
        .unwrap();
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("surprise", "x".repeat(10_000));
    assert!(checkpoint.error("config.json", &["`surprise`", "xxx..."]).to_string().len() < 1000);
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
fn logit_softcapping_is_refused() {
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        Checkpoint::copy_of("gemma3").with_key(key, 50.0).bad_key(key, "50.0", "null");
    }
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
    checkpoint.bad_key("layer_types", "[\"chunked_attention\"]", "`sliding_attention` or `full_attention`");
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
    let eps = Checkpoint::copy_of("llama").with_key("rms_norm_eps", 0.0);
    eps.bad_key("rms_norm_eps", "0.0", "a positive number");
    let scale = Checkpoint::copy_of("gemma3").with_key("query_pre_attn_scalar", -3.0);
    scale.bad_key("query_pre_attn_scalar", "-3.0", "a positive number");
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
