//! Quantised checkpoints against what the libraries that wrote them restore.

use std::collections::BTreeMap;

use inject_models::{FloatFormat, Model};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use crate::{
    fixture,
    malformed::{Checkpoint, Stored},
};

const CASES: [&str; 7] = ["nf4", "nf4-nested", "fp4", "int8", "fp8-channel", "fp8-tensor", "fp8-block"];

const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";

fn copy_of(case: &str) -> Checkpoint {
    Checkpoint::copy_of(&format!("quantised/{case}"))
}

/// The F32 tensors of a safetensors file, by name.
fn values(bytes: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

fn parameters(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
    values(&std::fs::read(path).unwrap())
}

#[test]
fn weights_are_those_that_the_library_restores_bit_for_bit() {
    for case in CASES {
        let found = parameters(&copy_of(case).load().unwrap());
        // The tensors tell the method without the config.
        let untold = copy_of(case).without_key("quantization_config").load().unwrap();
        assert!(parameters(&untold) == found, "{case}");
        let path = fixture::folder("quantised").join(case).join("expected.safetensors");
        let expected = values(&std::fs::read(path).unwrap());
        assert_eq!(expected.len(), 7, "{case}");
        for (name, expected) in &expected {
            assert!(&found[name] == expected, "{case}: {name}");
        }
    }
}

#[test]
fn a_method_that_the_config_announces_and_no_tensor_shows_is_refused() {
    for config in
        [json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), json!({"quant_method": "fp8"})]
    {
        let checkpoint = Checkpoint::copy_of("llama").with_key("quantization_config", config);
        checkpoint.error("model.safetensors", &["give the unquantised checkpoint"]);
    }
    // What was read is not what was announced.
    let checkpoint =
        copy_of("nf4").with_key("quantization_config", json!({"quant_method": "gptq", "bits": 4}));
    checkpoint.error("model.safetensors", &["GPTQ, 4 bits"]);
}

#[test]
fn a_missing_scale_is_refused_by_its_name() {
    for (case, beside) in [
        ("nf4", "weight.absmax"),
        ("nf4", "weight.quant_map"),
        ("nf4-nested", "weight.nested_absmax"),
        ("nf4-nested", "weight.nested_quant_map"),
        ("fp8-channel", "weight_scale"),
    ] {
        let name = WEIGHT.replace("weight", beside);
        let checkpoint = copy_of(case).with_tensors(|tensors| {
            tensors.remove(&name).unwrap();
        });
        checkpoint.error("model.safetensors", &[&format!("tensor `{name}` is missing")]);
    }
}

#[test]
fn codes_without_their_description_or_scales_are_not_read_as_numbers() {
    for (case, beside, format) in
        [("nf4", "weight.quant_state.bitsandbytes__nf4", "U8"), ("int8", "SCB", "I8")]
    {
        let name = WEIGHT.replace("weight", beside);
        let checkpoint = copy_of(case).with_tensors(|tensors| {
            tensors.remove(&name).unwrap();
        });
        let error = checkpoint.load().map(|_| ()).expect_err("it loads").to_string();
        assert!(error.contains(WEIGHT) && (error.contains(format) || error.contains("shape")), "{error}");
    }
}

#[test]
fn what_stands_beside_a_weight_must_fit_it() {
    let f32s = |shape: &[usize]| Stored::f32(shape, 1.0);
    for (case, beside, stored, says) in [
        ("nf4", "weight.absmax", f32s(&[3]), "expected 20 floating-point numbers"),
        ("nf4", "weight.quant_map", f32s(&[15]), "expected 16 floating-point numbers"),
        ("nf4-nested", "weight.nested_absmax", f32s(&[2]), "expected 1 floating-point numbers"),
        ("nf4-nested", "weight.absmax", f32s(&[20]), "expected 20 codes stored as U8"),
        (
            "nf4",
            "weight",
            Stored { dtype: Dtype::U8, shape: vec![3, 1], bytes: vec![0; 3] },
            "expected two codes",
        ),
        ("int8", "SCB", f32s(&[41]), "expected 40 floating-point numbers"),
        ("fp8-channel", "weight_scale", f32s(&[41]), "one for each block of a weight [40, 32]"),
        ("fp8-channel", "weight_scale", f32s(&[7, 3]), "one for each block of a weight [40, 32]"),
    ] {
        let name = WEIGHT.replace("weight", beside);
        let checkpoint = copy_of(case).with_tensors(|tensors| {
            tensors.insert(name.clone(), stored);
        });
        checkpoint.damaged("model.safetensors", &[&format!("tensor `{name}` is"), says]);
    }
}

#[test]
fn a_description_that_is_not_understood_is_refused() {
    let name = WEIGHT.replace("weight", "weight.quant_state.bitsandbytes__nf4");
    for (text, says) in [
        ("{", "does not describe a quantised weight"),
        (r#"{"blocksize": 64, "dtype": "float32"}"#, "missing field `shape`"),
        (r#"{"blocksize": 63, "dtype": "float32", "shape": [40, 32]}"#, "with a blocksize of [32, 64"),
        (r#"{"blocksize": 64, "dtype": "float8", "shape": [40, 32]}"#, "with the dtype float32, float16"),
        (
            r#"{"blocksize": 64, "dtype": "float32", "shape": [18446744073709551615, 2]}"#,
            "expected two codes of a weight [18446744073709551615, 2]",
        ),
    ] {
        let checkpoint = copy_of("nf4").with_tensors(|tensors| {
            let stored = Stored { dtype: Dtype::U8, shape: vec![text.len()], bytes: text.into() };
            tensors.insert(name.clone(), stored);
        });
        checkpoint.damaged("model.safetensors", &[says]);
    }
}

#[test]
fn a_code_that_is_not_a_number_is_refused() {
    let checkpoint = copy_of("fp8-channel").with_tensors(|tensors| {
        tensors.get_mut(WEIGHT).unwrap().bytes[33] = 0x7f;
    });
    checkpoint.error("model.safetensors", &[WEIGHT, "holds NaN at element 33"]);
}
