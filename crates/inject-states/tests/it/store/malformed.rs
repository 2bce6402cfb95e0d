//! One test for each way in which a finished store can be malformed.

use serde_json::{Value, json};

use super::*;

const TAP: &str = "tap-block-1.safetensors";

/// What opening says about a good store after `change`.
fn broken(change: impl FnOnce(&mut Files)) -> StoreError {
    let mut there = Job::new(Positions::All, StateDtype::F32).uninterrupted();
    change(&mut there);
    let error = Store::open(folder(&there).path()).unwrap_err();
    assert!(!error.to_string().is_empty());
    error
}

fn with_manifest(change: impl FnOnce(&mut Value)) -> StoreError {
    broken(|files| {
        let bytes = files.get_mut("manifest.json").unwrap();
        let mut manifest = serde_json::from_slice(bytes).unwrap();
        change(&mut manifest);
        *bytes = serde_json::to_vec(&manifest).unwrap();
    })
}

fn with_file(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> StoreError {
    broken(|files| change(files.get_mut(name).unwrap()))
}

fn with_header(name: &str, change: impl FnOnce(&mut Value)) -> StoreError {
    with_file(name, |bytes| {
        let begin = data(bytes);
        let mut header = serde_json::from_slice(&bytes[8..begin]).unwrap();
        change(&mut header);
        let mut header = serde_json::to_vec(&header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        *bytes = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &bytes[begin..]].concat();
    })
}

/// Sets the element at a byte offset of the data.
fn with_data(name: &str, offset: usize, element: &[u8]) -> StoreError {
    with_file(name, |bytes| {
        let begin = data(bytes) + offset;
        bytes[begin..begin + element.len()].copy_from_slice(element);
    })
}

/// Where the data of a safetensors file begins.
fn data(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

macro_rules! assert_error {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error}: {error:?}");
    };
}

// The folder.

#[test]
fn nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [dir.path(), &dir.path().join("missing")] {
        assert_error!(Store::open(dir).unwrap_err(), StoreError::NotAStore { .. });
    }
}

#[test]
fn manifest_is_missing() {
    assert_error!(broken(|files| drop(files.remove("manifest.json"))), StoreError::NotAStore { .. });
}

#[test]
fn a_file_is_missing() {
    for name in [TAP, "rows.safetensors", "prompts.safetensors"] {
        let error = broken(|files| drop(files.remove(name)));
        assert_error!(error, StoreError::Io { path, .. } if path.ends_with(name));
    }
}

// The manifest.

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

// Any safetensors file.

#[test]
fn file_is_empty_or_shorter_than_the_length_of_its_header() {
    for length in [0, 7] {
        let error = with_file(TAP, |bytes| bytes.truncate(length));
        assert_error!(error, StoreError::FileSize { expected: 8, found, .. } if *found == length as u64);
    }
}

#[test]
fn file_is_shorter_than_its_header() {
    let error = with_file(TAP, |bytes| bytes.truncate(100));
    assert_error!(error, StoreError::FileSize { found: 100, .. });
}

#[test]
fn header_length_overflows() {
    let error = with_file(TAP, |bytes| bytes[..8].fill(0xff));
    assert_error!(error, StoreError::FileSize { expected: u64::MAX, .. });
}

#[test]
fn file_is_truncated() {
    let mut whole = 0;
    let error = with_file(TAP, |bytes| {
        whole = bytes.len() as u64;
        bytes.pop();
    });
    assert_error!(error, StoreError::FileSize { found, expected, .. } if (*found, *expected) == (whole - 1, whole));
}

#[test]
fn file_has_more_than_its_header_says() {
    assert_error!(with_file(TAP, |bytes| bytes.push(0)), StoreError::FileSize { .. });
}

#[test]
fn header_is_not_json() {
    assert_error!(with_file(TAP, |bytes| bytes[8] = b'?'), StoreError::Header { path, .. } if path.ends_with(TAP));
}

#[test]
fn header_contradicts_itself() {
    let error = with_header(TAP, |header| header["states"]["data_offsets"] = json!([0, 316]));
    assert_error!(error, StoreError::Header { .. });
}

#[test]
fn header_has_a_gap_before_the_data() {
    let error = with_header(TAP, |header| header["states"]["data_offsets"] = json!([4, 324]));
    assert_error!(error, StoreError::Header { .. });
}

#[test]
fn metadata_is_missing() {
    let error = with_header(TAP, |header| drop(header.as_object_mut().unwrap().remove("__metadata__")));
    assert_error!(error, StoreError::Field { found, .. } if found == "missing");
}

#[test]
fn metadata_is_of_other_weights() {
    for name in [TAP, "rows.safetensors", "prompts.safetensors"] {
        let error = with_header(name, |header| header["__metadata__"]["weight_hash"] = json!("ffff"));
        assert_error!(error, StoreError::Field { field, .. } if field == "metadata `weight_hash`");
    }
}

#[test]
fn two_taps_are_swapped() {
    let error = broken(|files| {
        let block = files[TAP].clone();
        let embedding = files.insert("tap-embedding.safetensors".to_owned(), block).unwrap();
        files.insert(TAP.to_owned(), embedding);
    });
    assert_error!(error, StoreError::Field { field, found, expected, .. }
        if field == "metadata `tap`" && found == "`block-1`" && expected == "`embedding`");
}

#[test]
fn tensor_has_another_dtype() {
    let error = with_header(TAP, |header| header["states"]["dtype"] = json!("I32"));
    assert_error!(error, StoreError::Tensors { found, .. } if found == "states I32 [16, 5]");
}

#[test]
fn tensor_has_another_shape() {
    let error = with_header(TAP, |header| header["states"]["shape"] = json!([5, 16]));
    assert_error!(error, StoreError::Tensors { found, .. } if found == "states F32 [5, 16]");
}

#[test]
fn tensor_has_another_name() {
    let error = with_header(TAP, |header| {
        let states = header.as_object_mut().unwrap().remove("states").unwrap();
        header["weights"] = states;
    });
    assert_error!(error, StoreError::Tensors { found, .. } if found == "weights F32 [16, 5]");
}

#[test]
fn a_tensor_too_many() {
    let error = with_header(TAP, |header| {
        header["extra"] = json!({"dtype": "U8", "shape": [0], "data_offsets": [320, 320]});
    });
    assert_error!(error, StoreError::Tensors { found, .. } if found.contains("extra"));
}

#[test]
fn data_is_not_aligned() {
    let error = with_file(TAP, |bytes| {
        let begin = data(bytes);
        bytes[..8].copy_from_slice(&(begin as u64 - 8 + 2).to_le_bytes());
        bytes.splice(begin..begin, *b"  ");
    });
    assert_error!(error, StoreError::Misaligned { tensor: "states", expected: 4, .. });
}

// The prompts: 7 of them, with 16 tokens.

#[test]
fn offsets_do_not_begin_at_0() {
    let error = with_data("prompts.safetensors", 0, &1i64.to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "offsets", index: 0, found: 1, .. });
}

#[test]
fn offsets_do_not_rise() {
    for found in [1i64, 0, -5] {
        let error = with_data("prompts.safetensors", 2 * 8, &found.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "offsets", index: 2, found: at, .. } if *at == found);
    }
}

#[test]
fn offsets_do_not_end_at_the_number_of_tokens() {
    let error = with_data("prompts.safetensors", 7 * 8, &17i64.to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "offsets", index: 7, found: 17, .. });
}

#[test]
fn a_token_id_of_a_prompt_is_negative() {
    let error = with_data("prompts.safetensors", 8 * 8 + 3 * 4, &(-1i32).to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "token_ids", index: 3, found: -1, .. });
}

#[test]
fn the_prompts_are_others() {
    let error = with_data("prompts.safetensors", 8 * 8, &77i32.to_le_bytes());
    assert_error!(error, StoreError::Field { field, .. } if field == "prompts_sha256");
}

// The rows: prompt, position, token_id, 16 of each.

#[test]
fn a_row_is_of_another_prompt() {
    for prompt in [3i32, 7, -1] {
        let error = with_data("rows.safetensors", 5 * 4, &prompt.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "prompt", index: 5, .. });
    }
}

#[test]
fn a_row_is_of_another_position() {
    for position in [9i32, -1] {
        let error = with_data("rows.safetensors", (16 + 5) * 4, &position.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "position", index: 5, .. });
    }
}

#[test]
fn a_row_is_of_another_token() {
    for token in [77i32, -1] {
        let error = with_data("rows.safetensors", (32 + 5) * 4, &token.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "token_id", index: 5, .. });
    }
}
