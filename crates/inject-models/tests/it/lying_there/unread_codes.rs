//! Quantised weights that are not read.

use super::*;

/// The fixture with one matrix in another form.
fn quantised(parts: &[(&str, Dtype, &[usize])]) -> Checkpoint {
    let stem = "model.layers.0.self_attn.q_proj";
    llama().with_tensors(|tensors| {
        let size = |dtype| match dtype {
            Dtype::I64 => 8,
            Dtype::I32 | Dtype::U32 | Dtype::F32 => 4,
            Dtype::I16 | Dtype::F16 => 2,
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
    // The numbers of a layer's settings are tensors beside its codes.
    let named = quantised(hqq).with_tensors(|tensors| {
        let nbits = Stored { dtype: Dtype::I32, shape: vec![], bytes: vec![8, 0, 0, 0] };
        tensors.insert("model.layers.0.self_attn.q_proj.nbits".to_owned(), nbits);
    });
    named.error(FILE, &["HQQ, 8 bits"]);
}

/// Each method by the tensors of its own files, for a matrix of 32 by 32.
#[test]
fn methods_are_known_by_their_tensors_alone() {
    type Parts = &'static [(&'static str, Dtype, &'static [usize])];
    let cases: &[(Parts, &str)] = &[
        (
            &[
                ("weight", Dtype::U8, &[32, 16]),
                ("weight_scale", Dtype::F8_E4M3, &[32, 2]),
                ("weight_scale_2", Dtype::F32, &[]),
                ("input_scale", Dtype::F32, &[]),
            ],
            "NVFP4, 4 bits",
        ),
        (
            &[
                ("weight_packed", Dtype::U8, &[32, 16]),
                ("weight_scale", Dtype::F8_E4M3, &[32, 2]),
                ("weight_global_scale", Dtype::F32, &[1]),
            ],
            "NVFP4, 4 bits",
        ),
        (&[("weight_packed", Dtype::U8, &[32, 16]), ("weight_scale", Dtype::U8, &[32, 1])], "MXFP4, 4 bits"),
        (&[("weight", Dtype::U8, &[32, 16]), ("weight_scale", Dtype::U8, &[32, 1])], "MXFP4, 4 bits"),
        (
            &[("weight_blocks", Dtype::U8, &[32, 1, 16]), ("weight_scales", Dtype::U8, &[32, 1])],
            "MXFP4, 4 bits",
        ),
        (
            &[("trellis", Dtype::I16, &[2, 2, 48]), ("suh", Dtype::F16, &[32]), ("svh", Dtype::F16, &[32])],
            "EXL3, 3 bits",
        ),
        (
            &[("trellis", Dtype::I16, &[4, 32]), ("SU", Dtype::F16, &[32]), ("SV", Dtype::F32, &[32])],
            "QTIP, 2 bits",
        ),
        (
            &[
                ("codes", Dtype::I16, &[32, 4, 1]),
                ("codebooks", Dtype::F16, &[1, 65536, 1, 8]),
                ("scales", Dtype::F16, &[32, 1, 1, 1]),
            ],
            "AQLM, 2 bits",
        ),
        (
            &[("Qidxs", Dtype::I64, &[32, 1]), ("SU", Dtype::F16, &[32]), ("SV", Dtype::F16, &[32])],
            "QuIP#, 2 bits",
        ),
        (
            &[
                ("weight", Dtype::I16, &[4, 32]),
                ("scales", Dtype::F16, &[32, 1]),
                ("tables", Dtype::F16, &[4]),
                ("tables2", Dtype::F16, &[4, 4, 2]),
            ],
            "HIGGS, 2 bits",
        ),
        (&[("dense_weights", Dtype::I64, &[8]), ("row_offsets", Dtype::I32, &[33])], "(SpQR)"),
        (&[("indices", Dtype::I32, &[1, 8]), ("centroids.weight", Dtype::F16, &[1, 64])], "(VPTQ)"),
        (&[("weight", Dtype::I8, &[32, 32]), ("weight_scales", Dtype::F16, &[32])], "EETQ, 8 bits"),
        (&[("weight", Dtype::U8, &[8, 32]), ("weight_scale", Dtype::F32, &[1])], "BitNet, 2 bits"),
        (&[("weight._data", Dtype::I8, &[32, 32]), ("weight._scale", Dtype::F16, &[32, 1])], "(quanto)"),
    ];
    for (parts, says) in cases {
        let error = quantised(parts).error(FILE, &[says, "give the unquantised checkpoint"]);
        assert!(matches!(error, ModelError::Quantised { .. }), "{error:?}");
    }
    // The bits of groups of rows are numbers in the file, and the config may round their mean.
    let exl2 = || {
        let codes: Parts = &[("q_weight", Dtype::I32, &[5, 32]), ("q_scale", Dtype::I32, &[2, 4])];
        quantised(codes).with_tensors(|tensors| {
            let groups = [6_i16, 0, 4, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
            let stored = Stored { dtype: Dtype::I16, shape: vec![4], bytes: groups };
            tensors.insert("model.layers.0.self_attn.q_proj.q_groups".to_owned(), stored);
        })
    };
    exl2().error(FILE, &["EXL2, 4 and 6 bits"]);
    exl2()
        .with_key("quantization_config", json!({"quant_method": "exl2", "bits": 4.65}))
        .error(FILE, &["EXL2, 4 and 6 bits"]);
}

#[test]
fn the_format_of_nvidias_optimizer_is_named() {
    for (config, says) in [
        (json!({"quant_method": "modelopt", "quant_algo": "NVFP4"}), "NVFP4, 4 bits"),
        (json!({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}), "modelopt W4A8_AWQ"),
    ] {
        llama().with_key("quantization_config", config).error(FILE, &[says]);
    }
}
