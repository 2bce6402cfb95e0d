//! Faults of the rotary settings in config.json.

use inject_models::ConfigProblem;
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
        "rope_scaling.rope_type",
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
fn a_share_of_rotating_coordinates_that_is_odd_or_outside_the_head_is_refused() {
    // Heads of 16 coordinates: 3 of them, none, and 24.
    for share in [0.2, 0.0, 1.5, -1.0] {
        let checkpoint = Checkpoint::copy_of("phi4").with_key("partial_rotary_factor", share);
        checkpoint.bad_key(
            "rope_scaling.partial_rotary_factor",
            &json!(share).to_string(),
            "a share of the 16 coordinates",
        );
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

#[test]
fn a_factor_beside_rotary_settings_that_do_not_scale_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("rope_parameters.factor", 8.0);
    checkpoint.bad_key("rope_parameters.factor", "8.0", "no factor beside rope_type `default`");
}
