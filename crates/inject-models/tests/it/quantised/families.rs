//! Every family in every quantised format, against the same numbers in F32.

use std::collections::BTreeMap;

use inject_models::FloatFormat;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use super::computed;
use crate::{
    fixture,
    malformed::{Checkpoint, Stored, owned},
};

/// The linear maps of a fixture in three values, quantised by a method, and the numbers that these stand for.
fn in_three_values(case: &str, method: &str) -> (Checkpoint, Checkpoint) {
    const SCALE: f32 = 0.3;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = fixture::load(case, FloatFormat::F32, &inject_testing::any_device());
    model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let [mut quantised, mut plain] = [(); 2].map(|()| -> BTreeMap<String, Stored> {
        file.iter().map(|(name, view)| (name.to_owned(), owned(&view))).collect()
    });
    // The names of tensors in blocks have numbers.
    let in_block = |name: &str| name.split('.').any(|step| step.parse::<usize>().is_ok());
    let of_maps = |(name, stored): (&String, &Stored)| in_block(name) && stored.shape.len() == 2;
    let names: Vec<String> = plain.iter().filter(|of| of_maps(*of)).map(|(name, _)| name.clone()).collect();
    assert!(names.len() >= 4, "{case}: {names:?}");
    let f32s = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    for name in names {
        let weight = plain.get_mut(&name).unwrap();
        let values = weight.bytes.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw));
        let signs: Vec<i8> =
            values.map(|value| if value.abs() < 0.1 { 0 } else { value.signum() as i8 }).collect();
        let one = if method == "int8" { 127.0 * SCALE * 7.874_016e-3 } else { SCALE };
        weight.bytes = f32s(&signs.iter().map(|&sign| f32::from(sign) * one).collect::<Vec<_>>());
        // The class of GPT-2 has these matrices transposed, and bitsandbytes and compressed-tensors do not.
        let (shape, signs) = match case {
            "gpt2" => {
                let [rows, columns] = weight.shape[..] else { unreachable!("a matrix") };
                let transposed = (0..rows * columns).map(|i| signs[i % rows * columns + i / rows]).collect();
                (vec![columns, rows], transposed)
            }
            _ => (weight.shape.clone(), signs),
        };
        let (rows, numbers) = (shape[0], signs.len());
        let stored = |dtype, shape: &[usize], bytes| Stored { dtype, shape: shape.to_vec(), bytes };
        let scales = |shape: &[usize]| Stored::f32(shape, SCALE);
        let weight = match method {
            "int8" => {
                quantised.insert(name.replace(".weight", ".SCB"), scales(&[rows]));
                stored(Dtype::I8, &shape, signs.iter().map(|sign| (sign * 127).cast_unsigned()).collect())
            }
            "fp8" => {
                quantised.insert(format!("{name}_scale"), scales(&[rows, 1]));
                let code = |sign: &i8| [0xb8, 0, 0x38][(sign + 1) as usize];
                stored(Dtype::F8_E4M3, &shape, signs.iter().map(code).collect())
            }
            _ => {
                quantised.insert(format!("{name}.absmax"), scales(&[numbers.div_ceil(64)]));
                let mut table = [0.5; 16];
                table[..3].copy_from_slice(&[-1.0, 0.0, 1.0]);
                let table = stored(Dtype::F32, &[16], f32s(&table));
                quantised.insert(format!("{name}.quant_map"), table);
                let state = json!({"blocksize": 64, "dtype": "float32", "shape": shape}).to_string();
                let state = stored(Dtype::U8, &[state.len()], state.into());
                quantised.insert(format!("{name}.quant_state.bitsandbytes__{method}"), state);
                let code = |sign: i8| (sign + 1).cast_unsigned();
                let pairs = signs
                    .chunks(2)
                    .map(|pair| code(pair[0]) << 4 | pair.get(1).map_or(0, |&sign| code(sign)));
                stored(Dtype::U8, &[numbers.div_ceil(2), 1], pairs.collect())
            }
        };
        quantised.insert(name, weight);
    }
    let checkpoint = |tensors| {
        // With the config of the family, whatever its files of weights.
        let copy = Checkpoint::copy_of("llama").with_tensors(|own| *own = tensors);
        std::fs::copy(fixture::folder(case).join("config.json"), copy.path("config.json")).unwrap();
        copy
    };
    (checkpoint(quantised), checkpoint(plain))
}

#[test]
fn every_family_is_read_in_every_quantised_format() {
    for case in fixture::ONE_PER_FAMILY {
        for method in ["nf4", "fp4", "int8", "fp8"] {
            let (quantised, plain) = in_three_values(case, method);
            let [quantised, plain] = [quantised, plain].map(|checkpoint| {
                checkpoint.load().unwrap_or_else(|error| panic!("{case} in {method}: {error:?}"))
            });
            assert!(computed(&quantised) == computed(&plain), "{case} in {method}");
        }
    }
}

#[test]
fn soft_caps_bend_the_scores_and_logits_of_a_quantised_model() {
    let (quantised, plain) = in_three_values("gemma2", "int8");
    let found = computed(&quantised.load().unwrap());
    assert!(found == computed(&plain.load().unwrap()));
    for cap in ["attn_logit_softcapping", "final_logit_softcapping"] {
        let (quantised, plain) = in_three_values("gemma2", "int8");
        let without = computed(&quantised.with_key(cap, Value::Null).load().unwrap());
        assert!(without == computed(&plain.with_key(cap, Value::Null).load().unwrap()), "{cap}");
        let furthest = found.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest > 1e-3, "{cap}: {furthest}");
    }
}
