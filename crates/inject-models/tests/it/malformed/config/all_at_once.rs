//! Several problems of one file.

use super::*;

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
