//! The method of quantisation, recognised by the names, formats and shapes of tensors.

mod by_parts;

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::Method;
use crate::checkpoint::{Checkpoint, Entry, restored};

/// The method without a reader, recognised by the names and formats of tensors.
pub(super) fn of_tensors(checkpoint: &Checkpoint) -> Option<Method> {
    if let Some(found) = by_parts::by_parts(checkpoint) {
        return Some(found);
    }
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

/// The bits of a matrix of HQQ: `nbits` says so. Else the shapes show whether a group is a row, with a scale and some rows of packed codes.
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
    use super::*;

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
