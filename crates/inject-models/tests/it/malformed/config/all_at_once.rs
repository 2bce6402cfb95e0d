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

/// A share of each head is wrong for heads of every width, or right for some.
#[test]
fn a_share_of_heads_whose_width_is_unknown_is_named_if_it_fits_none() {
    let faults: [(&str, Value, &str); 6] = [
        ("num_attention_heads", json!(5), "hidden_size"),
        ("hidden_size", json!("32"), "hidden_size"),
        ("hidden_size", json!(null), "hidden_size"),
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("head_dim", json!(7), "head_dim"),
        ("head_dim", json!("8"), "head_dim"),
    ];
    let wrong = |case: &str, share: &str, factor: f64, (key, value, named): &(&str, Value, &str)| {
        let checkpoint =
            Checkpoint::copy_of(case).with_key("num_key_value_heads", 1).with_key("head_dim", json!(null));
        let checkpoint = checkpoint.with_key(key, value.clone());
        let problems = checkpoint.with_key(share, factor).problems(&[]);
        let keys = keys_of(&problems);
        assert!(keys.contains(named), "{case} {key} {value} {share} {factor}: {problems:?}");
        let others = keys.iter().filter(|key| *key != named).collect::<Vec<_>>();
        assert!(
            others.is_empty() || others == [&share],
            "{case} {key} {value} {share} {factor}: {problems:?}"
        );
        !others.is_empty()
    };
    for fault in &faults {
        for share in [0.5, 0.999, 0.0, -1.0, 2.0, 1e300] {
            assert!(wrong("llama", "partial_rotary_factor", share, fault), "{share} {fault:?}");
        }
        assert!(!wrong("llama", "partial_rotary_factor", 1.0, fault), "{fault:?}");
        assert!(wrong("llama", "rope_parameters.partial_rotary_factor", 0.5, fault), "{fault:?}");
    }
    for fault in faults.iter().filter(|(key, ..)| *key != "head_dim") {
        for share in [0.0, -1.0, 2.0] {
            assert!(wrong("gpt-neox", "rotary_pct", share, fault), "{share} {fault:?}");
        }
        for share in [0.25, 0.7, 1.0] {
            assert!(!wrong("gpt-neox", "rotary_pct", share, fault), "{share} {fault:?}");
        }
    }
}

#[test]
fn the_two_shares_of_gpt_neox_are_compared_whatever_the_width_of_a_head() {
    let with = |share: f64| {
        let neox = Checkpoint::copy_of("gpt-neox").without_key("hidden_size").with_key("rotary_pct", 0.25);
        neox.with_key("partial_rotary_factor", share).problems(&[])
    };
    assert_eq!(keys_of(&with(0.5)), ["hidden_size", "partial_rotary_factor"]);
    assert_eq!(keys_of(&with(0.25)), ["hidden_size"]);
}

#[test]
fn an_odd_head_is_named_beside_a_width_that_it_does_not_follow_from() {
    let problems =
        Checkpoint::copy_of("llama").without_key("hidden_size").with_key("head_dim", 7).problems(&[]);
    assert_eq!(keys_of(&problems), ["head_dim", "hidden_size"]);
}

#[test]
fn a_window_that_is_missing_is_named_beside_the_flag_that_forbids_one() {
    let kinds = json!(["sliding_attention", "full_attention", "sliding_attention"]);
    let qwen2 =
        Checkpoint::copy_of("qwen2").with_key("layer_types", kinds).with_key("use_sliding_window", false);
    let problems = qwen2.with_key("sliding_window", json!(null)).problems(&[]);
    assert_eq!(keys_of(&problems), ["sliding_window", "use_sliding_window"]);
}

#[test]
fn computations_that_no_family_has_are_named_without_one() {
    for model_type in [json!("granite"), json!(null)] {
        let checkpoint =
            Checkpoint::copy_of("llama").with_key("architectures", json!(["GraniteForCausalLM"]));
        let checkpoint = checkpoint.with_key("residual_multiplier", 0.22).with_key("logits_scaling", 8.0);
        let problems =
            checkpoint.with_key("rope_interleaved", true).with_key("model_type", model_type).problems(&[]);
        let expected = ["logits_scaling", "model_type", "residual_multiplier", "rope_interleaved"];
        assert_eq!(keys_of(&problems), expected);
    }
}

/// MLX has a key of its own, beside `quantization_config` or without it.
#[test]
fn the_quantisation_of_mlx_is_named_with_the_other_problems() {
    let settings = json!({"group_size": 64, "bits": 4});
    let mlx = || Checkpoint::copy_of("llama").with_key("quantization", settings.clone());
    // By itself it says nothing: the tensors are plain numbers.
    mlx().load().unwrap();
    let faulty = mlx().with_key("hidden_act", "quick_gelu");
    let says = ["the weights are quantised (MLX, 4 bits), which is not read"];
    assert_eq!(keys_of(&faulty.problems(&says)), ["hidden_act", "quantization"]);
    let both = faulty.with_key("quantization_config", settings);
    assert_eq!(keys_of(&both.problems(&says)), ["hidden_act", "quantization_config"]);
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

/// transformers looks for it in the text part if there is none at the top.
#[test]
fn a_quantisation_in_the_text_part_counts() {
    let gptq = json!({"quant_method": "gptq", "bits": 4});
    let multimodal = || Checkpoint::copy_of("gemma3-multimodal");
    let inner = || multimodal().with_key("text_config.quantization_config", gptq.clone());
    inner().error("model.safetensors", &["(GPTQ, 4 bits), which is not read"]);
    let faulty =
        inner().with_key("text_config.hidden_activation", "quick_gelu").problems(&["(GPTQ, 4 bits)"]);
    assert_eq!(keys_of(&faulty), ["text_config.hidden_activation", "text_config.quantization_config"]);
    // One at the top counts alone, unless it is empty.
    inner().with_key("quantization_config", json!({})).error("model.safetensors", &["(GPTQ, 4 bits)"]);
    let awq = json!({"quant_method": "awq", "bits": 8});
    inner().with_key("quantization_config", awq).error("model.safetensors", &["(AWQ, 8 bits)"]);
    assert_eq!(
        multimodal().with_key("text_config.quantization_config", json!({})).load().unwrap().notes(),
        []
    );
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
