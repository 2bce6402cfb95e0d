//! Keys that announce a computation, known or not.

use super::*;

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
fn biases_that_phi_does_not_have_are_noted() {
    let phi = || Checkpoint::copy_of("phi4");
    let plain = phi().load().unwrap();
    for key in ["attention_bias", "mlp_bias", "lm_head_bias"] {
        assert_eq!(phi().with_key(key, false).load().unwrap().notes(), plain.notes());
        let model = phi().with_key(key, true).load().unwrap();
        assert_eq!(model.decoder.config(), plain.decoder.config());
        assert!(
            model.notes().contains(&inject_models::Note::UnreadKeys { keys: vec![key.to_owned()] }),
            "{key}"
        );
    }
}

#[test]
fn the_ways_in_which_transformers_computes_are_not_noted() {
    for key in ["_attn_implementation", "attn_implementation"] {
        let model = Checkpoint::copy_of("llama").with_key(key, "eager").load().unwrap();
        assert_eq!(model.notes(), [], "{key}");
    }
}
