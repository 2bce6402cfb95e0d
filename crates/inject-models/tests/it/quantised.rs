//! Quantised checkpoints against what the libraries that wrote them restore.

mod families;

use std::collections::BTreeMap;

use inject_models::{FloatFormat, Logits, Model, ModelError, Note, Tap, TokenBatch, host::to_host};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::{
    fixture,
    malformed::{Checkpoint, Stored},
    parity,
};

pub(crate) const CASES: [&str; 7] =
    ["nf4", "nf4-nested", "fp4", "int8", "fp8-channel", "fp8-tensor", "fp8-block"];

/// Those with states.
const PARITY: [&str; 3] = ["gpt2-nf4", "gpt-neox-int8", "phi3-fp8"];

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
        // The tensors show the method without the config.
        let untold = copy_of(case).without_key("quantization_config").load().unwrap();
        assert!(parameters(&untold) == found, "{case}");
        if case == "fp8-tensor" {
            let modelopt = json!({"quant_method": "modelopt", "quant_algo": "FP8"});
            let modelopt = copy_of(case).with_key("quantization_config", modelopt).load().unwrap();
            assert!(parameters(&modelopt) == found, "the same tensors, as ModelOpt calls them");
        }
        let path = fixture::folder("quantised").join(case).join("expected.safetensors");
        let expected = values(&std::fs::read(path).unwrap());
        assert_eq!(expected.len(), 7, "{case}");
        for (name, expected) in &expected {
            assert!(&found[name] == expected, "{case}: {name}");
        }
    }
}

/// `parity.py` computes these states with the numbers that the libraries restore.
#[test]
fn states_at_every_tap_are_those_of_the_libraries() {
    for device in inject_testing::compiled() {
        for case in PARITY {
            let case = format!("quantised/{case}");
            for format in [FloatFormat::F32, FloatFormat::F64] {
                if format == FloatFormat::F32 || inject_testing::computes_in_f64(&device) {
                    let decoder = fixture::load(&case, format, &device).decoder;
                    parity::check_decoder(&case, "golden", format, &device, &decoder);
                }
            }
        }
    }
}

/// The sides of a block need not divide those of the weight, and compressed-tensors says them in other places than the first files.
#[test]
fn blocks_have_the_sides_that_the_config_says() {
    // Three rows of blocks of 15 rows, the last one with 10, and two columns of blocks of 20 columns, the last one with 12.
    let scales: Vec<f32> = (1..=6_u8).map(f32::from).collect();
    let blocks_of = |quantisation: Value| {
        let with_blocks = |tensors: &mut BTreeMap<String, Stored>| {
            tensors.remove(&format!("{WEIGHT}_scale_inv")).unwrap();
            let bytes = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            let stored = Stored { dtype: Dtype::F32, shape: vec![3, 2], bytes };
            tensors.insert(format!("{WEIGHT}_scale"), stored);
            // The code of one.
            tensors.get_mut(WEIGHT).unwrap().bytes.fill(0x38);
        };
        copy_of("fp8-block").with_tensors(with_blocks).with_key("quantization_config", quantisation)
    };
    let groups = |structures: &[Value]| {
        let group = |(i, structure): (usize, &Value)| {
            let weights =
                json!({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": structure});
            (format!("group_{i}"), json!({"targets": ["Linear"], "weights": weights}))
        };
        let groups: serde_json::Map<_, _> = structures.iter().enumerate().map(group).collect();
        json!({"quant_method": "compressed-tensors", "config_groups": groups})
    };
    let expected: Vec<f32> = (0..40 * 32).map(|i| scales[i / 32 / 15 * 2 + i % 32 / 20]).collect();
    for structure in [json!([15, 20]), json!("15x20")] {
        let model = blocks_of(groups(&[json!([8, 8]), structure])).load().unwrap();
        assert_eq!(parameters(&model)[WEIGHT], expected);
    }
    let others = blocks_of(groups(&[json!([8, 8])]));
    others.damaged("model.safetensors", &[&format!("tensor `{WEIGHT}_scale` is"), "of the sizes [[8, 8]]"]);
}

/// A multimodal file may have the sides within its text part. Without them, three blocks of 36 rows may have 12 or 16.
#[test]
fn blocks_have_the_sides_that_the_text_part_says() {
    let name = "language_model.model.layers.0.mlp.up_proj.weight";
    let unsaid = || {
        Checkpoint::copy_of("gemma3-multimodal").with_tensors(|tensors| {
            // The code of one.
            let codes = Stored { dtype: Dtype::F8_E4M3, shape: vec![36, 24], bytes: vec![0x38; 36 * 24] };
            assert_eq!(tensors.insert(name.to_owned(), codes).unwrap().shape, [36, 24]);
            let bytes = [1_f32, 2.0, 3.0].iter().flat_map(|scale| scale.to_le_bytes()).collect();
            let scales = Stored { dtype: Dtype::F32, shape: vec![3, 1], bytes };
            tensors.insert(format!("{name}_scale_inv"), scales);
        })
    };
    let says =
        ["a weight [36, 24], whose size the config says if several are possible (`weight_block_size`)"];
    unsaid().damaged("model.safetensors", &says);
    let quantisation = json!({"quant_method": "fp8", "weight_block_size": [15, 24]});
    for key in ["quantization_config", "text_config.quantization_config"] {
        let model = unsaid().with_key(key, quantisation.clone()).load().unwrap();
        assert_eq!(model.notes(), [], "{key}");
        let parameters = parameters(&model);
        let found = parameters.iter().find(|(found, _)| found.ends_with("layers.0.mlp.up_proj.weight"));
        let expected: Vec<f32> = (0..36 * 24).map(|i| (i / 24 / 15 + 1) as f32).collect();
        assert_eq!(found.unwrap().1, &expected, "{key}");
    }
}

/// `bnb_4bit_quant_storage` stores the codes under another format, byte for byte.
#[test]
fn codes_may_be_stored_as_numbers_of_another_format() {
    for case in ["nf4", "nf4-nested", "fp4"] {
        let expected = parameters(&copy_of(case).load().unwrap());
        for (dtype, size) in [(Dtype::BF16, 2), (Dtype::F32, 4)] {
            let checkpoint = copy_of(case).with_tensors(|tensors| {
                let described = |name: &str| tensors.contains_key(&format!("{name}.quant_map"));
                let codes: Vec<String> = tensors.keys().filter(|name| described(name)).cloned().collect();
                assert_eq!(codes.len(), 7);
                for name in codes {
                    let codes = tensors.get_mut(&name).unwrap();
                    codes.dtype = dtype;
                    codes.shape = vec![codes.bytes.len() / size, 1];
                }
            });
            assert!(parameters(&checkpoint.load().unwrap()) == expected, "{case} as {dtype}");
        }
    }
}

#[test]
fn a_method_that_the_config_announces_and_no_tensor_shows_is_refused() {
    for config in
        [json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), json!({"quant_method": "fp8"})]
    {
        let checkpoint = Checkpoint::copy_of("llama").with_key("quantization_config", config);
        let error = checkpoint.error("model.safetensors", &["remove `quantization_config` from config.json"]);
        assert!(matches!(error, ModelError::NotQuantised { .. }), "{error:?}");
    }
    // The codes are not of the announced kind.
    let checkpoint =
        copy_of("nf4").with_key("quantization_config", json!({"quant_method": "gptq", "bits": 4}));
    checkpoint.error("model.safetensors", &["GPTQ, 4 bits"]);
}

#[test]
fn a_missing_scale_is_refused_by_its_name_and_that_of_the_method() {
    for (case, beside, method) in [
        ("nf4", "weight.absmax", "bitsandbytes, 4 bits"),
        ("nf4", "weight.quant_map", "bitsandbytes, 4 bits"),
        ("nf4-nested", "weight.nested_absmax", "bitsandbytes, 4 bits"),
        ("nf4-nested", "weight.nested_quant_map", "bitsandbytes, 4 bits"),
        ("fp8-channel", "weight_scale", "FP8, 8 bits"),
    ] {
        let name = WEIGHT.replace("weight", beside);
        let checkpoint = copy_of(case).with_tensors(|tensors| {
            tensors.remove(&name).unwrap();
        });
        let says = [&*format!("tensor `{name}` is missing"), &format!("`{WEIGHT}`"), method];
        let error = checkpoint.error("model.safetensors", &says);
        assert!(matches!(error, ModelError::MissingBeside { .. }), "{error:?}");
    }
}

/// A cast to FP8 leaves no scales. transformers reads what it leaves, unless the config announces a quantisation.
#[test]
fn numbers_of_8_bits_without_scales_are_read_as_they_are_unless_the_config_says_otherwise() {
    for (case, dtype, name) in [
        ("llama", Dtype::F8_E4M3, WEIGHT),
        ("llama", Dtype::F8_E5M2, "model.embed_tokens.weight"),
        ("gpt2", Dtype::F8_E4M3, "transformer.h.0.mlp.c_fc.bias"),
    ] {
        let cast = || {
            Checkpoint::copy_of(case).with_tensors(|tensors| {
                let stored = tensors.get_mut(name).unwrap();
                // 1.5 and -1.5.
                let codes = if dtype == Dtype::F8_E4M3 { [0x3c, 0xbc] } else { [0x3e, 0xbe] };
                let bytes = codes.into_iter().cycle().take(stored.bytes.len() / 4).collect();
                *stored = Stored { dtype, shape: stored.shape.clone(), bytes };
            })
        };
        let model = cast().load().unwrap();
        assert_eq!(model.notes(), [Note::Float8WithoutScales { count: 1 }], "{name}");
        let found = &parameters(&model)[name];
        assert!(found.chunks(2).all(|pair| pair == [1.5, -1.5]), "{name}");
        if case == "llama" {
            let fp8 = json!({"quant_method": "fp8"});
            let says = [&*format!("`{name}_scale` is missing"), "FP8, 8 bits"];
            cast().with_key("quantization_config", fp8).error("model.safetensors", &says);
        }
    }
}

/// A cast leaves the matrices of GPT-2 as they lie, transposed.
#[test]
fn a_model_that_was_cast_to_fp8_has_the_states_of_its_numbers() {
    let cast = |dtype: Dtype, one: &[u8]| {
        Checkpoint::copy_of("gpt2").with_tensors(|tensors| {
            for stored in tensors.values_mut().filter(|stored| stored.shape.len() == 2) {
                let numbers = stored.bytes.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw));
                let bytes = numbers
                    .flat_map(|number| one.iter().map(move |byte| if number > 0.0 { *byte } else { 0 }));
                *stored = Stored { dtype, shape: stored.shape.clone(), bytes: bytes.collect() };
            }
        })
    };
    let found = cast(Dtype::F8_E4M3, &[0x38]).load().unwrap();
    let expected = cast(Dtype::F32, &1_f32.to_le_bytes()).load().unwrap();
    assert!(computed(&found) == computed(&expected));
}

#[test]
fn some_numbers_of_8_bits_without_scales_beside_others_with_them_are_refused() {
    let scale = format!("{WEIGHT}_scale");
    let checkpoint = copy_of("fp8-channel").with_tensors(|tensors| {
        tensors.remove(&scale).unwrap();
    });
    let says = [&*format!("`{scale}` is missing"), "FP8, 8 bits"];
    checkpoint.without_key("quantization_config").error("model.safetensors", &says);
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

/// Releases of bitsandbytes before 0.45 may write the order that a kind of GPU has the codes in. Its releases since then refuse it.
#[test]
fn codes_in_the_order_of_a_gpu_are_refused() {
    let name = WEIGHT.replace("weight", "weight_format");
    let with =
        |edit: &dyn Fn(&mut BTreeMap<String, Stored>)| copy_of("int8").with_tensors(|tensors| edit(tensors));
    let ampere = with(&|tensors| tensors.get_mut(&name).unwrap().bytes = vec![3]);
    ampere
        .damaged("model.safetensors", &[&format!("tensor `{name}` is"), "0, which stands for codes in rows"]);
    // The first files do not say.
    with(&|tensors| drop(tensors.remove(&name).unwrap())).load().unwrap();
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

/// The states at every tap and the logits of one prompt.
pub(crate) fn computed(model: &Model) -> Vec<f32> {
    let ids: Vec<u32> = (0..24).map(|i| (i * 37 + 5) % 97).collect();
    let taps = Tap::all(model.decoder.config().n_layers());
    let forward = model.decoder.forward(&TokenBatch::new(&[ids]).unwrap(), &taps, Logits::All).unwrap();
    let states = taps.iter().flat_map(|tap| to_host::<f32, 3>(forward.states[tap].clone()).unwrap());
    states.chain(to_host::<f32, 3>(forward.logits.clone().unwrap()).unwrap()).collect()
}
