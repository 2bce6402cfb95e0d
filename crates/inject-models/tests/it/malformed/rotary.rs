//! Faults of the rotary settings in config.json.

use serde_json::json;

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

#[test]
fn both_rotary_spellings_at_once_are_refused() {
    for case in ["llama", "gemma3"] {
        let scaling = json!({"rope_type": "linear", "factor": 2.0});
        let checkpoint = Checkpoint::copy_of(case).with_key("rope_scaling", scaling);
        checkpoint.bad_key("rope_scaling", "\"present\"", "`rope_parameters` is there too");
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
