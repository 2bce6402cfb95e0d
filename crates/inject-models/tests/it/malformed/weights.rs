//! Faults of a safetensors file.

use inject_models::ModelError;
use safetensors::Dtype;
use serde_json::json;

use super::{Checkpoint, Stored, header_len};

const FILE: &str = "model.safetensors";
/// The last tensor of the data.
const NORM: &str = "model.norm.weight";

fn llama() -> Checkpoint {
    Checkpoint::copy_of("llama")
}

#[test]
fn a_folder_without_weights_is_refused() {
    let error = llama().without_file(FILE).error(
        "",
        &["holds no weights", "model.safetensors or pytorch_model.bin, or the index of one of them"],
    );
    assert!(matches!(error, ModelError::NoWeights { .. }), "{error:?}");
}

#[test]
fn an_empty_weight_file_is_refused() {
    llama().with_file(FILE, "").damaged(FILE, &["0 bytes", "expected at least 8"]);
    llama().with_file(FILE, "1234567").damaged(FILE, &["7 bytes", "expected at least 8"]);
}

#[test]
fn a_weight_file_cut_off_in_its_data_is_refused() {
    llama()
        .with_bytes(FILE, |bytes| bytes.truncate(bytes.len() - 1))
        .damaged(FILE, &["tensor `", "has the bytes", "to end by"]);
}

#[test]
fn a_weight_file_cut_off_in_its_header_is_refused() {
    llama()
        .with_bytes(FILE, |bytes| bytes.truncate(100))
        .damaged(FILE, &["it announces a header of", "expected at most 92 in a file of 100"]);
}

#[test]
fn a_header_said_to_be_longer_than_the_file_is_refused() {
    for claimed in [1 << 20, 1 << 40, 1 << 63, u64::MAX] {
        llama()
            .with_bytes(FILE, |bytes| bytes[..8].copy_from_slice(&u64::to_le_bytes(claimed)))
            .damaged(FILE, &[&format!("a header of {claimed} bytes"), "expected at most"]);
    }
}

#[test]
fn a_header_said_to_be_shorter_than_it_is_is_refused() {
    for claimed in [0_u64, 1, 40] {
        llama()
            .with_bytes(FILE, |bytes| bytes[..8].copy_from_slice(&claimed.to_le_bytes()))
            .damaged(FILE, &["its header is not a JSON object"]);
    }
}

#[test]
fn a_header_that_is_not_a_json_object_is_refused() {
    for broken in [b'}', b'[', 0xff] {
        llama()
            .with_bytes(FILE, |bytes| bytes[8] = broken)
            .damaged(FILE, &["its header is not a JSON object"]);
    }
}

#[test]
fn a_malformed_entry_of_the_header_is_named() {
    let broken = |entry| llama().with_header(|header| header[NORM] = entry);
    broken(json!({"dtype": "F32", "shape": [32]})).damaged(FILE, &[NORM, "missing field `data_offsets`"]);
    broken(json!({"dtype": "F32", "shape": [-32], "data_offsets": [0, 128]}))
        .damaged(FILE, &[NORM, "`-32`", "expected usize"]);
    broken(json!("F32")).damaged(FILE, &[NORM, "\"F32\"", "expected struct TensorInfo"]);
}

#[test]
fn a_number_format_the_container_does_not_know_is_refused() {
    llama()
        .with_header(|header| header[NORM]["dtype"] = json!("F7"))
        .damaged(FILE, &[NORM, "`F7`", "expected one of", "`BF16`"]);
}

/// The bytes of a tensor, moved.
fn moved(begin: i64, end: i64) -> Checkpoint {
    llama().with_header(|header| {
        let offsets = &mut header[NORM]["data_offsets"];
        *offsets = json!([offsets[0].as_i64().unwrap() + begin, offsets[1].as_i64().unwrap() + end]);
    })
}

#[test]
fn tensors_that_overlap_are_refused() {
    moved(-4, -4).damaged(FILE, &["tensor `", "has the bytes", "expected to begin at"]);
}

#[test]
fn a_gap_between_tensors_is_refused() {
    moved(4, 4).damaged(FILE, &["tensor `", "has the bytes", "expected to begin at"]);
}

#[test]
fn a_tensor_that_ends_before_it_begins_is_refused() {
    moved(0, -129).damaged(FILE, &["has the bytes", "expected to begin at"]);
}

#[test]
fn a_tensor_beyond_the_end_of_the_file_is_refused() {
    moved(0, 1 << 40).damaged(FILE, &["tensor `", "has the bytes", "to end by"]);
}

#[test]
fn data_that_belong_to_no_tensor_are_refused() {
    llama()
        .with_bytes(FILE, |bytes| bytes.extend([0; 12]))
        .damaged(FILE, &["its tensors have", "bytes of data, expected"]);
}

#[test]
fn a_shape_that_does_not_match_its_bytes_is_refused() {
    for shape in [json!([31]), json!([8, 8]), json!([1_u64 << 62, 4]), json!([u64::MAX, u64::MAX])] {
        llama()
            .with_header(|header| header[NORM]["shape"] = shape)
            .damaged(FILE, &[&format!("tensor `{NORM}` has 128 bytes"), "expected those of F32 ["]);
    }
}

#[test]
fn offsets_whose_sum_would_overflow_are_refused() {
    let huge = 1_u64 << 61;
    let data: Vec<String> = (0..8)
        .map(|i| {
            let (begin, end) = (u128::from(huge) * i, (u128::from(huge) * (i + 1)).min(u128::from(u64::MAX)));
            format!(
                r#""{i}": {{"dtype": "U8", "shape": [{}], "data_offsets": [{begin}, {end}]}}"#,
                end - begin
            )
        })
        .collect();
    let header = format!("{{{}}}", data.join(","));
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    llama().with_file(FILE, bytes).damaged(FILE, &["tensor `0`", "to end by 0"]);
}

#[test]
fn a_header_may_be_padded_and_may_say_where_it_comes_from() {
    llama()
        .with_bytes(FILE, |bytes| {
            let begin = 8 + header_len(bytes);
            let len = (begin as u64).to_le_bytes();
            *bytes = [&len, &bytes[8..begin], b"        ", &bytes[begin..]].concat();
        })
        .with_header(|header| {
            header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        })
        .load()
        .unwrap();
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    for (tensor, shape) in [
        (NORM, "[32]"),
        ("model.embed_tokens.weight", "[97, 32]"),
        ("model.layers.2.self_attn.k_proj.weight", "[16, 32]"),
    ] {
        let checkpoint = llama().with_tensors(|tensors| {
            tensors.remove(tensor).unwrap();
        });
        let error =
            checkpoint.error(FILE, &[&format!("`{tensor}` is missing"), &format!("expected shape {shape}")]);
        assert!(matches!(error, ModelError::MissingTensor { .. }), "{error:?}");
    }
}

#[test]
fn a_surplus_tensor_is_named_with_its_shape() {
    for name in ["model.layers.3.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.bias", "router.weight"]
    {
        let checkpoint = llama().with_tensors(|tensors| {
            tensors.insert(name.to_owned(), Stored::f32(&[3, 2], 0.5));
        });
        let error = checkpoint.error(FILE, &[&format!("`{name}` [3, 2]"), "not part of a `llama` model"]);
        assert!(matches!(error, ModelError::SurplusTensor { tensor, .. } if tensor == name));
    }
}

#[test]
fn a_tensor_that_only_repeats_the_config_is_ignored() {
    llama()
        .with_tensors(|tensors| {
            let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
            tensors.insert(name.to_owned(), Stored::f32(&[4], 1.0));
        })
        .load()
        .unwrap();
}

#[test]
fn all_tensors_that_do_not_fit_are_named_at_once() {
    let error = llama()
        .with_tensors(|tensors| {
            tensors.remove("model.layers.2.self_attn.k_proj.weight").unwrap();
            tensors.insert(NORM.to_owned(), Stored::f32(&[33], 0.5));
            tensors.insert("router.weight".to_owned(), Stored::f32(&[3, 2], 0.5));
        })
        .error(
            FILE,
            &[
                "3 tensors do not fit",
                "`model.layers.2.self_attn.k_proj.weight` is missing, expected shape [16, 32]",
                &format!("`{NORM}` has shape [33], expected [32]"),
                "`router.weight` [3, 2] is not part of a `llama` model",
            ],
        );
    assert!(matches!(&error, ModelError::Tensors { faults, .. } if faults.len() == 3), "{error:?}");
    // The line stays short.
    let error = llama().with_key("intermediate_size", 48).with_key("hidden_size", 64).load().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("; and ") && text.contains(" more") && text.len() < 1500, "{text}");
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    for (name, found, expected) in [
        (NORM, vec![33], "[32]"),
        ("model.embed_tokens.weight", vec![32, 97], "[97, 32]"),
        ("model.layers.1.mlp.down_proj.weight", vec![40, 32], "[32, 40]"),
        ("model.layers.1.self_attn.v_proj.weight", vec![512], "[16, 32]"),
    ] {
        let checkpoint = llama().with_tensors(|tensors| {
            tensors.insert(name.to_owned(), Stored::f32(&found, 0.5));
        });
        let says = [format!("`{name}` has shape {found:?}"), format!("expected {expected}")];
        let error = checkpoint.error(FILE, &[&says[0], &says[1]]);
        assert!(matches!(error, ModelError::TensorShape { tensor, .. } if tensor == name));
    }
}

#[test]
fn a_tensor_in_an_unsupported_number_format_is_refused() {
    for (dtype, size) in [(Dtype::I8, 1), (Dtype::I64, 8), (Dtype::BOOL, 1)] {
        let checkpoint = llama().with_tensors(|tensors| {
            let bytes = vec![0; 32 * size];
            tensors.insert(NORM.to_owned(), Stored { dtype, shape: vec![32], bytes });
        });
        let stored_as = format!("`{NORM}` is stored as {dtype}");
        let error = checkpoint.error(FILE, &[&stored_as, "expected F32, F16, BF16 or F64"]);
        assert!(matches!(error, ModelError::TensorDtype { .. }), "{error:?}");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused() {
    let name = "model.layers.1.mlp.up_proj.weight";
    for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let checkpoint = llama().with_tensors(|tensors| {
            let stored = tensors.get_mut(name).unwrap();
            stored.bytes[4 * 77..4 * 78].copy_from_slice(&value.to_le_bytes());
        });
        let holds = format!("`{name}` holds {text} at element 77");
        let error = checkpoint.error(FILE, &[&holds, "expected finite weights"]);
        assert!(matches!(error, ModelError::NotFinite { element: 77, .. }), "{error:?}");
    }
}

#[test]
fn a_half_precision_weight_that_is_not_finite_is_refused() {
    for (dtype, infinity) in [(Dtype::F16, 0x7c00_u16), (Dtype::BF16, 0x7f80)] {
        let checkpoint = llama().with_tensors(|tensors| {
            let bytes = infinity.to_le_bytes().repeat(32);
            tensors.insert(NORM.to_owned(), Stored { dtype, shape: vec![32], bytes });
        });
        let error = checkpoint.error(FILE, &[NORM, "holds inf at element 0"]);
        assert!(matches!(error, ModelError::NotFinite { element: 0, .. }), "{error:?}");
    }
}

/// Reading it whole and parsing it would take gigabytes.
#[test]
fn a_header_longer_than_any_model_needs_is_refused_unread() {
    let long = (16 << 20) + 1;
    let checkpoint = Checkpoint::copy_of("gpt2").with_bytes("model.safetensors", |bytes| {
        *bytes = u64::to_le_bytes(long).to_vec();
    });
    let file = std::fs::File::options().write(true).open(checkpoint.path("model.safetensors")).unwrap();
    file.set_len(67 << 20).unwrap();
    checkpoint.error("model.safetensors", &["a header of 16777217 bytes", "expected at most 16777216"]);
}
