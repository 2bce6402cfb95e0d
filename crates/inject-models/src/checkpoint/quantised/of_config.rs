//! The method of quantisation that a config announces, and the sizes of blocks with a scale.

use serde_json::{Map, Value};

use super::Method;

/// The method that a `quantization_config` announces for weights. An empty object announces nothing.
///
/// # Source
///
/// Hugging Face transformers 5.24, `utils/quantization_config.py`, and vllm-project/compressed-tensors,
/// `quantization/quant_scheme.py`. Files of MLX name no method.
pub(super) fn of_config(config: &Map<String, Value>) -> Option<Method> {
    if config.is_empty() {
        return None;
    }
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or_default();
    let method = config.get("quant_method").and_then(Value::as_str);
    let bits = config.get("bits").or_else(|| config.get("weight_bits")).and_then(Value::as_u64);
    Some(match method {
        Some("gptq") => Method::new("GPTQ", bits),
        Some("awq") => Method::new("AWQ", bits),
        Some("hqq") => Method::new("HQQ", config.get("quant_config").map(hqq_bits).unwrap_or_default()),
        Some("fp8" | "fbgemm_fp8") => Method::new("FP8", [8]),
        Some("bitsandbytes") | None if flag("load_in_4bit") => Method::new("bitsandbytes", [4]),
        Some("bitsandbytes") | None if flag("load_in_8bit") => Method::new("bitsandbytes", [8]),
        // transformers then loads plain weights.
        Some("bitsandbytes") => return None,
        // The activations are transformed too, while the model computes.
        Some("compressed-tensors") if has_transforms(config) => {
            Method::new("compressed-tensors with transforms", compressed(config).1)
        }
        Some("compressed-tensors") if !has_entries(config, "config_groups") => {
            Method::new(&format!("compressed-tensors {}", zeros_left_out(config)?), [])
        }
        Some("compressed-tensors") => match compressed(config) {
            (true, bits) => Method::new("FP8 as compressed-tensors", bits),
            (false, bits) => Method::new("compressed-tensors", bits),
        },
        // NVIDIA's Model Optimizer names the format apart.
        Some("modelopt") => match config.get("quant_algo").and_then(Value::as_str) {
            Some("NVFP4") => Method::new("NVFP4", [4]),
            // One scale for each matrix, as in compressed-tensors.
            Some("FP8") => Method::new("FP8", [8]),
            Some(algorithm) => Method::new(&format!("modelopt {algorithm}"), bits),
            None => Method::new("modelopt", bits),
        },
        Some(other) => {
            // The tensors show the bits of these, under the names that people use.
            let known = ["EXL2", "EXL3", "AQLM", "HIGGS", "SpQR", "VPTQ", "EETQ", "MXFP4", "NVFP4", "BitNet"];
            let name = known.into_iter().find(|name| name.eq_ignore_ascii_case(other));
            Method::new(name.unwrap_or(other), bits)
        }
        None if config.contains_key("group_size") => Method::new("MLX", bits),
        None => Method::new("a method without a name", bits),
    })
}

/// The bits that the `quant_config` of HQQ names: in `weight_quant_params`, of all matrices or of each kind of matrix.
///
/// # Source
///
/// Hugging Face transformers 5.24, `utils/quantization_config.py` (`HqqConfig`).
fn hqq_bits(config: &Value) -> Vec<u64> {
    let of = |config: &Value| config.get("weight_quant_params")?.get("nbits")?.as_u64();
    match of(config) {
        Some(bits) => vec![bits],
        None => config.as_object().into_iter().flat_map(Map::values).filter_map(of).collect(),
    }
}

/// Whether weights are floating point numbers, and their bits.
fn compressed(config: &Map<String, Value>) -> (bool, Option<u64>) {
    let weights = groups(config).next();
    let bits = weights.and_then(|weights| weights.get("num_bits")?.as_u64());
    let kind = weights.and_then(|weights| weights.get("type")?.as_str());
    (kind == Some("float") && bits == Some(8), bits)
}

/// Whether weights are stored transformed, by a Hadamard matrix for example.
///
/// # Source
///
/// github.com/vllm-project/compressed-tensors, release 0.20, `transform/transform_config.py`.
fn has_transforms(config: &Map<String, Value>) -> bool {
    let transforms = config.get("transform_config").and_then(Value::as_object);
    transforms.is_some_and(|config| has_entries(config, "config_groups"))
}

fn has_entries(config: &Map<String, Value>, key: &str) -> bool {
    config.get(key).and_then(Value::as_object).is_some_and(|entries| !entries.is_empty())
}

/// The format of matrices that are stored without their zeros. In the format `dense`, the zeros are stored too.
///
/// # Source
///
/// github.com/vllm-project/compressed-tensors, release 0.20, `config/base.py` (`CompressionFormat`).
fn zeros_left_out(config: &Map<String, Value>) -> Option<&str> {
    let format = config.get("sparsity_config")?.get("format")?.as_str()?;
    (format != "dense").then_some(format)
}

/// Returns the rows and columns of a weight that share a scale, as the config says. Groups of weights may have others.
///
/// # Source
///
/// github.com/vllm-project/compressed-tensors, release 0.20, `quantization/quant_args.py`: a `block_structure` may be the text of
/// older files, such as `128x128`.
pub(super) fn block_sizes(config: &Map<String, Value>) -> Vec<[usize; 2]> {
    let size = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<usize>().ok().filter(|size| *size > 0),
        value => usize::try_from(value.as_u64()?).ok().filter(|size| *size > 0),
    };
    let block = |value: &Value| {
        let sides: Vec<usize> = match value {
            Value::String(text) => text.split('x').filter_map(|side| size(&side.into())).collect(),
            value => value.as_array()?.iter().filter_map(size).collect(),
        };
        <[usize; 2]>::try_from(sides).ok()
    };
    if let Some(found) = config.get("weight_block_size") {
        return block(found).into_iter().collect();
    }
    // In compressed-tensors, blocks or parts of rows.
    let of_group = |weights: &Value| {
        let structure = weights.get("block_structure").and_then(block);
        structure.or_else(|| Some([1, size(weights.get("group_size")?)?]))
    };
    let mut sizes: Vec<[usize; 2]> = groups(config).filter_map(of_group).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The settings of the weights in each group of compressed-tensors.
fn groups(config: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let groups = config.get("config_groups").and_then(Value::as_object);
    groups.into_iter().flat_map(Map::values).filter_map(|group| group.get("weights"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn announced(config: Value) -> Option<String> {
        of_config(config.as_object().unwrap()).map(|method| method.to_string())
    }

    #[test]
    fn a_config_names_method_and_bits() {
        assert_eq!(announced(json!({})), None);
        for (config, expected) in [
            (json!({"quant_method": "gptq", "bits": 2}), "GPTQ, 2 bits"),
            (json!({"quant_method": "awq", "bits": 4}), "AWQ, 4 bits"),
            (json!({"quant_method": "fp8"}), "FP8, 8 bits"),
            (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "bitsandbytes, 4 bits"),
            (json!({"load_in_8bit": true}), "bitsandbytes, 8 bits"),
            (json!({"quant_method": "modelopt", "quant_algo": "FP8"}), "FP8, 8 bits"),
            (json!({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}), "modelopt W4A8_AWQ"),
            (json!({"group_size": 64, "bits": 4}), "MLX, 4 bits"),
            (json!({"quant_method": "hqq"}), "HQQ"),
            (
                json!({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "axis": 1}}}),
                "HQQ, 3 bits",
            ),
            (
                json!({"quant_method": "hqq", "quant_config": {
                    "self_attn.q_proj": {"weight_quant_params": {"nbits": 8}},
                    "mlp.down_proj": {"weight_quant_params": {"nbits": 2}},
                    "mlp.up_proj": {"weight_quant_params": {"nbits": 2}}}}),
                "HQQ, 2 and 8 bits",
            ),
        ] {
            assert_eq!(announced(config).as_deref(), Some(expected));
        }
        let group = |kind: &str, bits: u64| {
            json!({"quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"type": kind, "num_bits": bits}}}})
        };
        assert_eq!(announced(group("float", 8)).unwrap(), "FP8 as compressed-tensors, 8 bits");
        assert_eq!(announced(group("int", 4)).unwrap(), "compressed-tensors, 4 bits");
        let mut transformed = group("float", 8);
        transformed["transform_config"] = json!({"config_groups": {}});
        assert_eq!(announced(transformed.clone()).unwrap(), "FP8 as compressed-tensors, 8 bits");
        transformed["transform_config"]["config_groups"]["u"] = json!({"type": "hadamard"});
        assert_eq!(announced(transformed).unwrap(), "compressed-tensors with transforms, 8 bits");
    }

    #[test]
    fn a_config_that_quantises_no_weights_announces_nothing() {
        let of = |key: &str, value: Value| json!({"quant_method": "compressed-tensors", key: value});
        let sparse =
            |format: &str| of("sparsity_config", json!({"format": format, "sparsity_structure": "2:4"}));
        for config in [
            json!({"quant_method": "bitsandbytes", "load_in_4bit": false, "load_in_8bit": false}),
            json!({"quant_method": "bitsandbytes", "bnb_4bit_compute_dtype": "bfloat16"}),
            of("config_groups", json!({})),
            of("config_groups", json!(null)),
            of("kv_cache_scheme", json!({"num_bits": 8, "type": "float"})),
            sparse("dense"),
        ] {
            assert_eq!(announced(config.clone()), None, "{config}");
        }
        let expected = "compressed-tensors sparse-24-bitmask";
        assert_eq!(announced(sparse("sparse-24-bitmask")).unwrap(), expected);
        // The name of a scheme in the place of its settings.
        assert_eq!(
            announced(of("config_groups", json!({"W4A16": ["Linear"]}))).unwrap(),
            "compressed-tensors"
        );
    }

    #[test]
    fn a_config_gives_the_sides_of_blocks() {
        let sides = |config: Value| block_sizes(config.as_object().unwrap());
        assert_eq!(sides(json!({"weight_block_size": [64, 32], "config_groups": {}})), [[64, 32]]);
        let groups = |all: &[Value]| {
            let group = |(i, weights): (usize, &Value)| (format!("group_{i}"), json!({"weights": weights}));
            json!({"config_groups": all.iter().enumerate().map(group).collect::<Map<_, _>>()})
        };
        let parts = json!({"strategy": "group", "group_size": 96, "block_structure": null});
        let blocks = json!({"strategy": "block", "group_size": null, "block_structure": [128, 64]});
        let written = json!({"strategy": "block", "block_structure": "128x64"});
        let of_rows = json!({"strategy": "channel", "group_size": null, "block_structure": null});
        let malformed = json!({"block_structure": [128, 64, 2]});
        assert_eq!(sides(groups(std::slice::from_ref(&parts))), [[1, 96]]);
        assert_eq!(sides(groups(&[blocks.clone(), written, of_rows])), [[128, 64]]);
        assert_eq!(sides(groups(&[blocks, parts])), [[1, 96], [128, 64]]);
        assert_eq!(sides(groups(&[malformed])).len() + sides(json!({})).len(), 0);
    }
}
