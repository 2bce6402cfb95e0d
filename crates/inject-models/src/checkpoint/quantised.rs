//! Quantised weights: recognised by the config or by the tensors alone.

use std::{collections::BTreeMap, fmt};

use safetensors::Dtype;
use serde_json::{Map, Value};

use super::{Checkpoint, Entry, restored};
use crate::error::ModelError;

/// A way in which weights are quantised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// The name, as people use it.
    name: String,
    /// The bits of a weight; several numbers if matrices differ.
    bits: Vec<u64>,
}

impl Method {
    fn new(name: &str, bits: impl IntoIterator<Item = u64>) -> Self {
        let mut bits: Vec<u64> = bits.into_iter().collect();
        bits.sort_unstable();
        bits.dedup();
        Method { name: name.to_owned(), bits }
    }

    /// Whether weights of this method can be restored.
    fn is_restored(&self) -> bool {
        matches!(self.name.as_str(), "bitsandbytes" | "FP8" | "FP8 as compressed-tensors")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits: Vec<String> = self.bits.iter().map(u64::to_string).collect();
        match bits.as_slice() {
            [] => f.write_str(&self.name),
            [bits] if bits == "1" => write!(f, "{}, 1 bit", self.name),
            bits => write!(f, "{}, {} bits", self.name, bits.join(" and ")),
        }
    }
}

/// Passes a checkpoint on if its weights are plain numbers, or become plain numbers here.
///
/// This is the one place where readers of quantised weights are tried.
///
/// # Errors
///
/// Fails for a method that has no reader.
pub(crate) fn dequantised(
    mut checkpoint: Checkpoint,
    announced: Option<&Map<String, Value>>,
) -> Result<Checkpoint, ModelError> {
    let restored = restored::restore(&mut checkpoint, &announced.map(block_sizes).unwrap_or_default())? > 0;
    let announced = announced.and_then(of_config).filter(|method| !(restored && method.is_restored()));
    let method = match (announced, of_tensors(&checkpoint)) {
        // The tensors tell the bits that the config leaves out.
        (Some(announced), Some(found)) if announced.bits.is_empty() && announced.name == found.name => {
            Some(found)
        }
        (announced, found) => announced.or(found),
    };
    // Where a part that restoring needs is missing, loading names the tensor that is left.
    let Some(found) = method else { return Ok(checkpoint) };
    let (path, method) = (checkpoint.path.clone(), found.to_string());
    // A method that can be restored is left only if the config alone tells it.
    Err(match found.is_restored() {
        true => ModelError::NotQuantised { path, method },
        false => ModelError::Quantised { path, method },
    })
}

/// Returns the rows and columns of a weight that share a scale, as the config says. Groups of weights may have others.
///
/// # Source
///
/// github.com/vllm-project/compressed-tensors, release 0.20, `quantization/quant_args.py`: a `block_structure` may be the text of
/// older files, such as `128x128`.
fn block_sizes(config: &Map<String, Value>) -> Vec<[usize; 2]> {
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

/// Returns the method that a `quantization_config` announces, if no checkpoint of it is read.
pub(crate) fn unread_method(config: &Map<String, Value>) -> Option<Method> {
    of_config(config).filter(|method| !method.is_restored())
}

/// The method that a `quantization_config` announces. An empty object announces nothing.
///
/// # Source
///
/// Hugging Face transformers 5.24, `utils/quantization_config.py`, and vllm-project/compressed-tensors,
/// `quantization/quant_scheme.py`. Files of MLX name no method.
fn of_config(config: &Map<String, Value>) -> Option<Method> {
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
        // The activations are transformed too, while the model computes.
        Some("compressed-tensors") if has_transforms(config) => {
            Method::new("compressed-tensors with transforms", compressed(config).1)
        }
        Some("compressed-tensors") => match compressed(config) {
            (true, bits) => Method::new("FP8 as compressed-tensors", bits),
            (false, bits) => Method::new("compressed-tensors", bits),
        },
        Some(other) => Method::new(other, bits),
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
    let groups = config.get("transform_config").and_then(|config| config.get("config_groups"));
    groups.and_then(Value::as_object).is_some_and(|groups| !groups.is_empty())
}

/// The method without a reader that the names and formats of tensors tell.
fn of_tensors(checkpoint: &Checkpoint) -> Option<Method> {
    let tensors = &checkpoint.tensors;
    let ends = |end: &str| tensors.keys().find(|name| name.ends_with(end));
    if let Some(stem) = ends(".qweight").and_then(|name| name.strip_suffix(".qweight")) {
        let shape = |part: &str| tensors.get(&format!("{stem}.{part}")).map(|entry| entry.shape.clone());
        return packed(&shape);
    }
    if let Some(stem) = ends(".W_q").and_then(|name| name.strip_suffix(".W_q")) {
        return Some(Method::new("HQQ", hqq_bits_of(checkpoint, stem)));
    }
    if ends(".weight_packed").is_some() {
        return Some(Method::new("compressed-tensors", bits_of_words(tensors, ".weight_packed")));
    }
    let weights_stored_as = |format: Dtype| {
        tensors.iter().any(|(name, entry)| name.ends_with(".weight") && restored::is_stored_as(entry, format))
    };
    if weights_stored_as(Dtype::I8) && ends(".weight_scale").is_some() {
        return Some(Method::new("compressed-tensors", [8]));
    }
    if weights_stored_as(Dtype::U32) && ends(".scales").is_some() && ends(".biases").is_some() {
        return Some(Method::new("MLX", bits_of_words(tensors, ".weight")));
    }
    None
}

/// The bits of weights packed along the inputs into 32-bit words: the queries have as many inputs as a norm has weights.
fn bits_of_words(tensors: &BTreeMap<String, Entry>, end: &str) -> Option<u64> {
    let last = |is: &dyn Fn(&str) -> bool| {
        let found = tensors.iter().find(|(name, _)| is(name));
        found.and_then(|(_, entry)| Some(*entry.shape.last()? as u64))
    };
    let d_model = last(&|name| name.ends_with(".input_layernorm.weight"))?;
    let words = last(&|name| {
        name.strip_suffix(end).is_some_and(|stem| stem.ends_with("q_proj") || stem.ends_with("qkv_proj"))
    })?;
    words.checked_mul(32)?.checked_div(d_model).filter(|bits| (1..=8).contains(bits))
}

/// The method and bits of weights packed into 32-bit words. `shape` returns the shape of a part of one matrix.
///
/// GPTQ packs along the inputs, so `qweight` is as wide as the outputs; AWQ packs along the outputs. Both pack `qzeros` along
/// the outputs, and `scales` has all of them.
fn packed(shape: &impl Fn(&str) -> Option<Vec<usize>>) -> Option<Method> {
    let last = |part: &str| shape(part).and_then(|shape| shape.last().copied());
    let (words, zeros, outputs) = (last("qweight")?, last("qzeros"), last("scales"));
    let along_outputs = shape("g_idx").is_none() && outputs.is_some_and(|outputs| words < outputs);
    let bits = zeros.zip(outputs).filter(|(_, outputs)| *outputs > 0);
    let bits = bits.map(|(zeros, outputs)| (32 * zeros as u64).div_ceil(outputs as u64));
    Some(Method::new(if along_outputs { "AWQ" } else { "GPTQ" }, bits))
}

/// The bits of a matrix of HQQ: `nbits` says so. Else the shapes tell if a group is a row, with a scale and some rows of packed codes.
///
/// # Source
///
/// github.com/mobiusml/hqq, `hqq/core/quantize.py` and `bitpack.py`: codes of 3 bits are packed into 32-bit words, the others into
/// bytes, along the groups.
fn hqq_bits_of(checkpoint: &Checkpoint, stem: &str) -> Option<u64> {
    let part = |part: &str| checkpoint.tensors.get(&format!("{stem}.{part}"));
    if let Some(bits) = part("nbits").and_then(|nbits| checkpoint.small_number(nbits)) {
        return Some(bits);
    }
    let codes = part("W_q")?;
    if restored::is_stored_as(codes, Dtype::I32) {
        return Some(3);
    }
    let (&[rows, _], &[groups, 1]) = (codes.shape.as_slice(), part("scale")?.shape.as_slice()) else {
        return None;
    };
    (8 * rows as u64).checked_div(groups as u64).filter(|bits| [1, 2, 4, 8].contains(bits))
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

    #[test]
    fn shapes_of_packed_weights_tell_method_and_bits() {
        let of = |parts: &[(&str, [usize; 2])]| {
            let shape =
                |part: &str| parts.iter().find(|(name, _)| *name == part).map(|(_, shape)| shape.to_vec());
            packed(&shape).unwrap().to_string()
        };
        // 32 inputs and 64 outputs.
        assert_eq!(of(&[("qweight", [4, 64]), ("qzeros", [1, 8]), ("scales", [1, 64])]), "GPTQ, 4 bits");
        assert_eq!(of(&[("qweight", [3, 64]), ("qzeros", [1, 6]), ("scales", [1, 64])]), "GPTQ, 3 bits");
        assert_eq!(of(&[("qweight", [32, 8]), ("qzeros", [1, 8]), ("scales", [1, 64])]), "AWQ, 4 bits");
        assert_eq!(of(&[("qweight", [4, 64])]), "GPTQ");
    }
}
