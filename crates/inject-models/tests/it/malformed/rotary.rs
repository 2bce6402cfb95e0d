//! Faults of the rotary settings in config.json.

use inject_models::{ConfigProblem, Note};
use serde_json::{Value, json};

use super::Checkpoint;

#[test]
fn an_unknown_kind_of_rotary_scaling_is_refused() {
    let known = "`default`, `linear`, `llama3` or `longrope`";
    Checkpoint::copy_of("llama").with_key("rope_parameters.rope_type", "yarn").bad_key(
        "rope_parameters.rope_type",
        "\"yarn\"",
        known,
    );
    Checkpoint::copy_of("llama-linear").with_key("rope_scaling.type", "dynamic").bad_key(
        "rope_scaling.type",
        "\"dynamic\"",
        known,
    );
}

/// Linear scaling in the newer spelling, and the older spelling beside it.
fn both(older: Value) -> Checkpoint {
    let newer = json!({"rope_type": "linear", "factor": 4, "rope_theta": 500000});
    Checkpoint::copy_of("llama").with_key("rope_parameters", newer).with_key("rope_scaling", older)
}

#[test]
fn both_rotary_spellings_are_accepted_where_they_agree() {
    let older = json!({"type": "linear", "factor": 4.0});
    let config = |checkpoint: Checkpoint| checkpoint.load().unwrap().decoder.config().clone();
    let expected = config(both(json!(null)));
    assert_eq!(config(both(older.clone()).with_key("rope_theta", 500_000.0)), expected);
    assert_eq!(config(both(json!({}))), expected);
    assert_eq!(config(both(older).without_key("rope_parameters").with_key("rope_theta", 500_000)), expected);

    let gemma3 = || Checkpoint::copy_of("gemma3");
    let beside = gemma3().with_key("rope_scaling", json!({"type": "linear", "factor": 4}));
    assert_eq!(config(beside.with_key("rope_theta", 20_000)), config(gemma3()));
}

#[test]
fn rotary_spellings_that_contradict_each_other_are_refused_with_both_values() {
    both(json!({"type": "linear", "factor": 8.0}))
        .contradiction(["rope_scaling.factor", "rope_parameters.factor"], ["8.0", "4"]);
    both(json!({"type": "default"})).contradiction(
        ["rope_scaling.rope_type", "rope_parameters.rope_type"],
        ["\"default\"", "\"linear\""],
    );
    let other_base = both(json!({"type": "linear", "factor": 4.0})).problem(&["`rope_scaling`", "500000"]);
    assert!(matches!(other_base, ConfigProblem::Contradiction { .. }), "{other_base:?}");
    Checkpoint::copy_of("gemma3")
        .with_key("rope_scaling", json!({"rope_type": "linear", "factor": 2.0}))
        .contradiction(["rope_scaling.factor", "rope_parameters.full_attention.factor"], ["2.0", "4.0"]);
    Checkpoint::copy_of("llama-linear")
        .with_key("rope_scaling.rope_type", "default")
        .contradiction(["rope_scaling.type", "rope_scaling.rope_type"], ["\"linear\"", "\"default\""]);
}

/// transformers moves the length outside into the settings, where it wins.
#[test]
fn the_original_length_outside_the_rotary_settings_wins() {
    let config = |checkpoint: Checkpoint| checkpoint.load().unwrap().decoder.config().clone();
    for family in ["llama", "mistral", "qwen2", "qwen3", "gemma2", "olmo2", "smollm3", "gpt-neox"] {
        let with = |inner: u32, outer: Option<u32>| {
            let scaling = json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": inner
            });
            let inside = Checkpoint::copy_of(family)
                .with_key("rope_parameters", json!(null))
                .with_key("rope_scaling", scaling);
            let length = outer.map_or(Value::Null, Value::from);
            config(inside.with_key("original_max_position_embeddings", length))
        };
        assert_eq!(with(16, Some(8)), with(8, None), "{family}");
        assert_ne!(with(16, None), with(8, None), "{family}");
    }
}

#[test]
fn rotary_settings_by_kind_of_layer_are_refused_where_a_family_has_one_kind() {
    let settings = json!({"full_attention": {"rope_type": "default", "rope_theta": 50.0}});
    Checkpoint::copy_of("qwen3").with_key("rope_parameters", settings).bad_key(
        "rope_parameters.full_attention",
        "{\"rope_theta\":50.0,\"rope_type\":\"default\"}",
        "the same rotary settings for all layers",
    );
}

#[test]
fn old_names_of_longrope_are_read_in_phi3_alone() {
    let phi4 = |key: &str, kind: &str| Checkpoint::copy_of("phi4").with_key(key, kind);
    let config = |checkpoint: Checkpoint| checkpoint.load().unwrap().decoder.config().clone();
    let expected = config(Checkpoint::copy_of("phi4"));
    for kind in ["su", "yarn"] {
        assert_eq!(config(phi4("rope_scaling.type", kind)), expected);
        // transformers keeps the old name when it writes the new one.
        assert_eq!(
            config(phi4("rope_scaling.type", kind).with_key("rope_scaling.rope_type", "longrope")),
            expected
        );
    }
}

#[test]
fn longrope_factors_of_the_wrong_number_are_refused() {
    for list in ["short_factor", "long_factor"] {
        let key = format!("rope_scaling.{list}");
        let checkpoint = Checkpoint::copy_of("phi4").with_key(&key, json!([1.0, 2.0]));
        checkpoint.bad_key(&key, "[1.0,2.0]", "6 factors");
    }
}

#[test]
fn longrope_factors_that_are_not_positive_are_refused() {
    for list in ["short_factor", "long_factor"] {
        let key = format!("rope_scaling.{list}");
        let checkpoint = Checkpoint::copy_of("phi4").with_key(&key, json!([1.0, 1.0, -2.0, 1.0, 1.0, 1.0]));
        checkpoint.bad_key(&key, "[1.0,1.0,-2.0,1.0,1.0,1.0]", "positive numbers");
    }
}

#[test]
fn a_share_of_rotating_coordinates_that_is_outside_the_head_is_refused() {
    // Heads of 16 coordinates: none of them, and 24.
    for share in [0.0, 1.5, -1.0, 1e300] {
        let checkpoint = Checkpoint::copy_of("phi4").with_key("partial_rotary_factor", share);
        checkpoint.bad_key(
            "partial_rotary_factor",
            &json!(share).to_string(),
            "a share of the 16 coordinates",
        );
    }
}

#[test]
fn a_head_without_room_for_the_last_pair_is_refused() {
    // 15 of 15 coordinates would rotate as 16. 13 rotate as 14.
    let with = |share: f64| {
        Checkpoint::copy_of("gpt-neox").with_key("hidden_size", 60).with_key("rotary_pct", share)
    };
    with(1.0).bad_key("rotary_pct", "1.0", "leaves room for pairs; this one is 15");
    let config = std::fs::read_to_string(with(0.9).path("config.json")).unwrap();
    let config = inject_models::DecoderConfig::parse(&config).unwrap();
    let rotary = config.blocks[0].attention.rotary.as_ref().unwrap();
    assert_eq!((rotary.rotary_dim, rotary.pairs()), (13, 7));
}

/// transformers' classes of these families rotate whole heads, whatever the share.
#[test]
fn a_share_of_rotating_coordinates_is_refused_where_whole_heads_rotate() {
    for (case, key, named) in [
        ("llama", "partial_rotary_factor", "partial_rotary_factor"),
        ("llama-linear", "rope_scaling.partial_rotary_factor", "rope_scaling.partial_rotary_factor"),
        ("mistral", "partial_rotary_factor", "partial_rotary_factor"),
        ("qwen2", "partial_rotary_factor", "partial_rotary_factor"),
        ("qwen3", "rope_parameters.partial_rotary_factor", "rope_parameters.partial_rotary_factor"),
        ("gemma2", "partial_rotary_factor", "partial_rotary_factor"),
        (
            "gemma3",
            "rope_parameters.full_attention.partial_rotary_factor",
            "rope_parameters.full_attention.partial_rotary_factor",
        ),
        ("smollm3", "partial_rotary_factor", "partial_rotary_factor"),
        ("olmo2", "partial_rotary_factor", "partial_rotary_factor"),
    ] {
        let with = |share: f64| Checkpoint::copy_of(case).with_key(key, share);
        with(0.5).bad_key(named, "0.5", "1: other values mean a rotation of a part of each head");
        with(1.0).load().unwrap();
    }
}

#[test]
fn rotary_numbers_that_are_not_positive_are_refused() {
    let base = Checkpoint::copy_of("llama").with_key("rope_parameters.rope_theta", 0.0);
    base.bad_key("rope_parameters.rope_theta", "0.0", "a positive number");
    let factor = Checkpoint::copy_of("llama-linear").with_key("rope_scaling.factor", -4.0);
    factor.bad_key("rope_scaling.factor", "-4.0", "a positive number");
    let ramp = Checkpoint::copy_of("llama3-scaling").with_key("rope_scaling.high_freq_factor", 1.0);
    ramp.bad_key("rope_scaling.high_freq_factor", "1.0", "more than the low_freq_factor 1");
    let attention = Checkpoint::copy_of("phi4").with_key("rope_scaling.attention_factor", -1.0);
    attention.bad_key("rope_scaling.attention_factor", "-1.0", "a positive number");
}

/// A key of the rotary settings that transformers does not read for the kind of rotation cannot change its states.
#[test]
fn rotary_keys_that_their_kind_does_not_read_are_noted() {
    let config = |model: &inject_models::Model| model.decoder.config().clone();
    for (case, settings) in [
        (
            "llama",
            &["factor", "low_freq_factor", "attention_factor", "beta_fast", "mscale", "short_factor"][..],
        ),
        ("llama-linear", &["high_freq_factor", "attention_factor", "long_factor"]),
        ("llama3-scaling", &["attention_factor", "truncate", "short_factor"]),
        ("phi4", &["low_freq_factor", "mscale_all_dim", "long_mscale"]),
    ] {
        let object = if case == "llama" { "rope_parameters" } else { "rope_scaling" };
        let expected = config(&Checkpoint::copy_of(case).load().unwrap());
        for setting in settings {
            let key = format!("{object}.{setting}");
            let model = Checkpoint::copy_of(case).with_key(&key, 8.0).load().unwrap();
            assert_eq!(config(&model), expected, "{case}: {key}");
            assert_eq!(model.notes(), [Note::UnreadKeys { keys: vec![key] }], "{case}");
        }
    }
}

/// transformers puts the older spelling over `"rope_type": "default"` in Gemma 3, and then does not read `type`.
#[test]
fn the_oldest_name_of_the_kind_is_noted_in_gemma3() {
    let with = |settings: Value| {
        Checkpoint::copy_of("gemma3-old").with_key("rope_scaling", settings).load().unwrap()
    };
    let [unscaled, oldest, older] = [
        with(json!(null)),
        with(json!({"type": "linear", "factor": 4.0})),
        with(json!({"rope_type": "linear", "factor": 4.0})),
    ];
    assert_eq!(oldest.decoder.config(), unscaled.decoder.config());
    assert_ne!(oldest.decoder.config(), older.decoder.config());
    let keys = ["rope_scaling.factor", "rope_scaling.type"].map(str::to_owned).to_vec();
    assert_eq!(oldest.notes(), [Note::UnreadKeys { keys }]);
    assert_eq!(with(json!({"type": "default"})).notes(), []);
}

/// The keys that the family reads are named, and those that are not read must agree with them.
#[test]
fn rotary_keys_of_gpt_neox_are_named_as_in_the_file() {
    let neox = || Checkpoint::copy_of("gpt-neox");
    neox().with_key("rotary_emb_base", -1.0).bad_key("rotary_emb_base", "-1.0", "a positive number");
    let unread = "this family reads `rotary_emb_base` in its place";
    let base = neox().without_key("rotary_emb_base").with_key("rope_theta", 500_000);
    base.bad_key("rope_theta", "500000.0", unread);
    neox().with_key("partial_rotary_factor", 0.25).bad_key("partial_rotary_factor", "0.25", "`rotary_pct`");
    // As transformers 5 writes a file of its older releases.
    let settings = json!({"rope_type": "default", "rope_theta": 500_000.0, "partial_rotary_factor": 0.25});
    let rewritten = ["rotary_emb_base", "rotary_pct"].into_iter().fold(neox(), Checkpoint::without_key);
    let rewritten = rewritten.with_key("rope_parameters", settings).with_key("rope_theta", 500_000);
    assert_eq!(rewritten.load().unwrap().notes(), []);
}

/// The method of transformers' class that reads the rotary keys has a parameter of this name, and gets all of them.
#[test]
fn the_default_base_is_read_in_phi3() {
    let config = |checkpoint: Checkpoint| checkpoint.load().unwrap().decoder.config().clone();
    let phi3 = || Checkpoint::copy_of("phi3").with_key("rope_parameters", json!(null));
    assert_eq!(config(phi3().with_key("default_theta", 500)), config(phi3().with_key("rope_theta", 500)));
    assert_eq!(config(phi3()), config(phi3().with_key("rope_theta", 10_000)));
    assert_eq!(
        config(phi3().with_key("rope_theta", 50).with_key("default_theta", 500)),
        config(phi3().with_key("rope_theta", 50))
    );
}
