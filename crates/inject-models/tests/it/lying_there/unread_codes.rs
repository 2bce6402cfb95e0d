//! Quantised weights that are not read.

use super::*;

/// The fixture with one matrix in another form.
fn quantised(parts: &[(&str, Dtype, &[usize])]) -> Checkpoint {
    let stem = "model.layers.0.self_attn.q_proj";
    llama().with_tensors(|tensors| {
        let size = |dtype| match dtype {
            Dtype::I32 | Dtype::U32 | Dtype::F32 => 4,
            _ => 1,
        };
        tensors.remove(&format!("{stem}.weight")).unwrap();
        for (part, dtype, shape) in parts {
            let bytes = vec![1; shape.iter().product::<usize>() * size(*dtype)];
            let stored = Stored { dtype: *dtype, shape: shape.to_vec(), bytes };
            tensors.insert(format!("{stem}.{part}"), stored);
        }
    })
}

#[test]
fn quantised_weights_are_named_by_method_and_bits() {
    let gptq: &[(&str, Dtype, &[usize])] = &[
        ("qweight", Dtype::I32, &[2, 32]),
        ("qzeros", Dtype::I32, &[1, 2]),
        ("scales", Dtype::F32, &[1, 32]),
        ("g_idx", Dtype::I32, &[32]),
    ];
    let mlx: &[(&str, Dtype, &[usize])] = &[
        ("weight", Dtype::U32, &[32, 4]),
        ("scales", Dtype::F32, &[32, 1]),
        ("biases", Dtype::F32, &[32, 1]),
    ];
    let packed: &[(&str, Dtype, &[usize])] = &[
        ("weight_packed", Dtype::I32, &[32, 4]),
        ("weight_scale", Dtype::F32, &[32, 1]),
        ("weight_shape", Dtype::I32, &[2]),
    ];
    let eight: &[(&str, Dtype, &[usize])] =
        &[("weight", Dtype::I8, &[32, 32]), ("weight_scale", Dtype::F32, &[32, 1])];
    // 64 groups of 16 weights, two in a byte.
    let hqq: &[(&str, Dtype, &[usize])] = &[("W_q", Dtype::U8, &[32, 16]), ("scale", Dtype::F32, &[64, 1])];
    let hqq_words: &[(&str, Dtype, &[usize])] =
        &[("W_q", Dtype::I32, &[7, 16]), ("scale", Dtype::F32, &[64, 1])];
    for (parts, config, says) in [
        (gptq, json!(null), "GPTQ, 2 bits"),
        (gptq, json!({"quant_method": "gptq", "bits": 2}), "GPTQ, 2 bits"),
        (mlx, json!(null), "MLX, 4 bits"),
        (packed, json!(null), "compressed-tensors, 4 bits"),
        (eight, json!(null), "compressed-tensors, 8 bits"),
        (hqq, json!(null), "HQQ, 4 bits"),
        (hqq_words, json!(null), "HQQ, 3 bits"),
        (hqq, json!({"quant_method": "hqq"}), "HQQ, 4 bits"),
        (
            hqq,
            json!({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 2}}}),
            "HQQ, 2 bits",
        ),
        (mlx, json!({"group_size": 64, "bits": 4}), "MLX, 4 bits"),
        (mlx, json!({"quant_method": "quanto", "bits": 8}), "quanto, 8 bits"),
    ] {
        let error = quantised(parts)
            .with_key("quantization_config", config)
            .error(FILE, &[says, "give the unquantised checkpoint"]);
        assert!(matches!(error, ModelError::Quantised { .. }), "{error:?}");
    }
    // The numbers of a layer's settings stand beside its codes as tensors.
    let named = quantised(hqq).with_tensors(|tensors| {
        let nbits = Stored { dtype: Dtype::I32, shape: vec![], bytes: vec![8, 0, 0, 0] };
        tensors.insert("model.layers.0.self_attn.q_proj.nbits".to_owned(), nbits);
    });
    named.error(FILE, &["HQQ, 8 bits"]);
}
