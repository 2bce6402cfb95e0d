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
