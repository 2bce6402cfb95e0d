//! The manifest.

use serde_json::json;

use super::*;

#[test]
fn manifest_is_not_json() {
    assert_error!(with_file("manifest.json", |bytes| bytes.truncate(100)), StoreError::Json { .. });
}

#[test]
fn manifest_has_another_format_version() {
    let error = with_manifest(|manifest| manifest["format_version"] = json!(2));
    assert_error!(error, StoreError::FormatVersion { found, expected: 1, .. } if found == "2");
}

#[test]
fn manifest_has_an_unknown_field() {
    for parent in ["", "/spec", "/noise"] {
        let error = with_manifest(|manifest| manifest.pointer_mut(parent).unwrap()["extra"] = json!(1));
        assert_error!(error, StoreError::Json { source, .. } if source.to_string().contains("unknown field `extra`"));
    }
}

#[test]
fn manifest_lacks_a_field() {
    let error = with_manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("row_count")));
    assert_error!(error, StoreError::Json { source, .. } if source.to_string().contains("missing field `row_count`"));
}

#[test]
fn manifest_has_an_unknown_name() {
    for (field, known) in [("dtype", "`bf16`"), ("positions", "`all`"), ("taps", "`final-norm`")] {
        let error = with_manifest(|manifest| {
            manifest["spec"][field] = if field == "taps" { json!(["nowhere"]) } else { json!("nowhere") };
        });
        assert_error!(error, StoreError::Json { source, .. }
            if source.to_string().contains("`nowhere`") && source.to_string().contains(known));
    }
}

#[test]
fn manifest_has_no_taps_or_one_twice_or_another_order() {
    for taps in [json!([]), json!(["block-1", "block-1"]), json!(["final-norm", "embedding", "block-1"])] {
        let error = with_manifest(|manifest| manifest["spec"]["taps"] = taps);
        assert_error!(error, StoreError::Field { field, .. } if field == "taps");
    }
}

#[test]
fn manifest_has_no_width() {
    let error = with_manifest(|manifest| manifest["spec"]["d_model"] = json!(0));
    assert_error!(error, StoreError::Field { field, .. } if field == "d_model");
}

#[test]
fn manifest_has_a_width_that_overflows() {
    let error = with_manifest(|manifest| manifest["spec"]["d_model"] = json!(usize::MAX));
    assert_error!(error, StoreError::TooLarge { .. });
}

#[test]
fn manifest_counts_other_rows_than_its_prompts_have() {
    let error = with_manifest(|manifest| manifest["row_count"] = json!(7));
    assert_error!(error, StoreError::Field { field, expected, .. } if field == "row_count" && expected == "16");
}

#[test]
fn manifest_counts_no_prompts() {
    let error = with_manifest(|manifest| manifest["prompt_count"] = json!(0));
    assert_error!(error, StoreError::Field { field, .. } if field == "prompt_count");
}

#[test]
fn manifest_has_noise_floors_of_other_taps() {
    let error = with_manifest(|manifest| manifest["noise"]["floors"]["block-7"] = json!(0.5));
    assert_error!(error, StoreError::NoiseFloor { tap: Tap::Block(7), .. });
}

#[test]
fn manifest_has_a_negative_noise_floor() {
    let error = with_manifest(|manifest| manifest["noise"]["floors"]["block-1"] = json!(-0.5));
    assert_error!(error, StoreError::NoiseFloor { tap: Tap::Block(1), .. });
}

#[test]
fn manifest_has_another_width_than_the_files() {
    let error = with_manifest(|manifest| manifest["spec"]["d_model"] = json!(6));
    assert_error!(error, StoreError::Tensors { found, expected, .. }
        if found == "states F32 [16, 5]" && expected == "states F32 [16, 6]");
}

#[test]
fn manifest_has_another_model_than_the_files() {
    let error = with_manifest(|manifest| manifest["spec"]["model_id"] = json!("other"));
    assert_error!(error, StoreError::Field { field, .. } if field == "metadata `model_id`");
}
