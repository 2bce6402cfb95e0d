//! The kinds of layers.

use super::*;

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

/// transformers checks these keys in every family, and computes the same whatever kinds they name.
#[test]
fn kinds_of_layers_without_use_are_checked_as_in_transformers() {
    for case in ["gpt2", "gpt-neo", "llama", "phi3", "gpt-neox", "olmo2"] {
        let plain = Checkpoint::copy_of(case).load().unwrap();
        let n_layers = plain.decoder.config().n_layers();
        let with = |key: &str, value: Value| Checkpoint::copy_of(case).with_key(key, value);
        let kinds = |kind: &str, count: usize| json!(vec![kind; count]);
        for kind in ["sliding_attention", "mamba", "attention", "qwen_sparse_attention", "conv"] {
            let model = with("layer_types", kinds(kind, n_layers)).load().unwrap();
            assert_eq!(model.decoder.config(), plain.decoder.config(), "{case}: {kind}");
            assert_eq!(model.notes(), plain.notes(), "{case}: {kind}");
        }
        for value in [json!("full_attention"), json!(5), json!(false), json!({})] {
            with("layer_types", value.clone()).bad_key("layer_types", &value.to_string(), "a list");
        }
        let unknown = json!(vec!["nonsense"; n_layers]);
        with("layer_types", unknown.clone()).bad_key(
            "layer_types",
            &unknown.to_string(),
            "kinds of layers, of full_attention, sliding_attention",
        );
        for value in [kinds("full_attention", n_layers + 1), json!([])] {
            let expected = format!("one kind for each of the {n_layers} layers");
            with("layer_types", value.clone()).bad_key("layer_types", &value.to_string(), &expected);
        }
        // Without `layer_types`, transformers does not look at the kinds of feed-forward blocks.
        let nonsense = kinds("nonsense", n_layers);
        with("mlp_layer_types", nonsense.clone()).load().unwrap();
        let both =
            with("layer_types", kinds("full_attention", n_layers)).with_key("mlp_layer_types", nonsense);
        assert_eq!(both.problem(&["kinds of layers, of sparse, dense"]).key(), "mlp_layer_types");
        with("layer_types", kinds("conv", n_layers))
            .with_key("mlp_layer_types", kinds("dense", n_layers))
            .load()
            .unwrap();
    }
    for case in ["qwen2", "qwen3", "gemma2", "gemma3", "smollm3"] {
        let checkpoint = Checkpoint::copy_of(case).with_key("mlp_layer_types", json!(["nonsense"]));
        assert_eq!(
            checkpoint.problem(&["kinds of layers, of sparse, dense"]).key(),
            "mlp_layer_types",
            "{case}"
        );
    }
}
