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
    bits: Option<u64>,
}

impl Method {
    /// Whether weights of this method can be restored.
    fn is_restored(&self) -> bool {
        matches!(self.name.as_str(), "bitsandbytes" | "FP8" | "FP8 as compressed-tensors")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            None => f.write_str(&self.name),
            Some(bits) => write!(f, "{}, {bits} bits", self.name),
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
    let restored = restored::restore(&mut checkpoint)? > 0;
    let announced = announced.and_then(of_config).filter(|method| !(restored && method.is_restored()));
    // Where a part that restoring needs is missing, loading names the tensor that is left.
    match announced.or_else(|| of_tensors(&checkpoint)) {
        None => Ok(checkpoint),
        Some(method) => {
            Err(ModelError::Quantised { path: checkpoint.path.clone(), method: method.to_string() })
        }
    }
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
    let (name, bits) = match method {
        Some("gptq") => ("GPTQ".to_owned(), bits),
        Some("awq") => ("AWQ".to_owned(), bits),
        Some("fp8" | "fbgemm_fp8") => ("FP8".to_owned(), Some(8)),
        Some("bitsandbytes") | None if flag("load_in_4bit") => ("bitsandbytes".to_owned(), Some(4)),
        Some("bitsandbytes") | None if flag("load_in_8bit") => ("bitsandbytes".to_owned(), Some(8)),
        Some("compressed-tensors") => {
            let (float, bits) = compressed(config);
            (format!("{}compressed-tensors", if float { "FP8 as " } else { "" }), bits)
        }
        Some(other) => (other.to_owned(), bits),
        None if config.contains_key("group_size") => ("MLX".to_owned(), bits),
        None => ("a method without a name".to_owned(), bits),
    };
    Some(Method { name, bits })
}

/// Whether weights are floating point numbers, and their bits.
fn compressed(config: &Map<String, Value>) -> (bool, Option<u64>) {
    let groups = config.get("config_groups").and_then(Value::as_object);
    let weights = groups.and_then(|groups| groups.values().next()?.get("weights"));
    let bits = weights.and_then(|weights| weights.get("num_bits")?.as_u64());
    let kind = weights.and_then(|weights| weights.get("type")?.as_str());
    (kind == Some("float") && bits == Some(8), bits)
}

/// The method without a reader that the names and formats of tensors tell.
fn of_tensors(checkpoint: &Checkpoint) -> Option<Method> {
    let tensors = &checkpoint.tensors;
    let ends = |end: &str| tensors.keys().find(|name| name.ends_with(end));
    if let Some(stem) = ends(".qweight").and_then(|name| name.strip_suffix(".qweight")) {
        let shape = |part: &str| tensors.get(&format!("{stem}.{part}")).map(|entry| entry.shape.clone());
        return packed(&shape);
    }
    if ends(".W_q").is_some() {
        return Some(Method { name: "HQQ".to_owned(), bits: None });
    }
    if ends(".weight_packed").is_some() {
        return Some(Method {
            name: "compressed-tensors".to_owned(),
            bits: bits_of_words(tensors, ".weight_packed"),
        });
    }
    let weights_stored_as = |format: Dtype| {
        tensors.iter().any(|(name, entry)| name.ends_with(".weight") && restored::is_stored_as(entry, format))
    };
    if weights_stored_as(Dtype::I8) && ends(".weight_scale").is_some() {
        return Some(Method { name: "compressed-tensors".to_owned(), bits: Some(8) });
    }
    if weights_stored_as(Dtype::U32) && ends(".scales").is_some() && ends(".biases").is_some() {
        return Some(Method { name: "MLX".to_owned(), bits: bits_of_words(tensors, ".weight") });
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
    Some(Method { name: if along_outputs { "AWQ" } else { "GPTQ" }.to_owned(), bits })
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
            (json!({"quant_method": "hqq"}), "hqq"),
        ] {
            assert_eq!(announced(config).as_deref(), Some(expected));
        }
        let group = |kind: &str, bits: u64| {
            json!({"quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"type": kind, "num_bits": bits}}}})
        };
        assert_eq!(announced(group("float", 8)).unwrap(), "FP8 as compressed-tensors, 8 bits");
        assert_eq!(announced(group("int", 4)).unwrap(), "compressed-tensors, 4 bits");
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
