//! Any safetensors file, here that of a tap.

use serde_json::json;

use super::*;

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
