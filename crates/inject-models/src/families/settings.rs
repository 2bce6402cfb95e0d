//! Settings that several families have, read from their keys.

use super::keys::Keys;
use crate::{
    config::{Activation, Bias, Head, Span},
    error::ModelError,
};

/// Takes the name of an activation.
///
/// # Source
///
/// Hugging Face transformers 5.23, `activations.py`: the names of one line here are the same formula. The constant of
/// `gelu_fast` is cut after ten digits, which are more than an f32 has.
pub(super) fn activation(keys: &mut Keys, key: &str, default: &str) -> Result<Activation, ModelError> {
    let name = keys.or(key, default.to_owned())?;
    match name.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" | "gelu_fast" => {
            Ok(Activation::GeluTanh)
        }
        "gelu" | "gelu_python" => Ok(Activation::GeluErf),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(keys.bad(key, &name, "`gelu_new`, `gelu_pytorch_tanh`, `gelu`, `silu` or `relu`")),
    }
}

/// Takes a positive number, such as the one that a norm adds to the variance or mean square.
pub(super) fn positive(keys: &mut Keys, key: &str, default: f64) -> Result<f64, ModelError> {
    let found = keys.or(key, default)?;
    if found.is_finite() && found > 0.0 { Ok(found) } else { Err(keys.bad(key, &found, "a positive number")) }
}

/// Takes the number of heads, key and value heads, and the width of a head, and checks that they fit together.
pub(super) fn heads(keys: &mut Keys, d_model: usize) -> Result<Heads, ModelError> {
    let n_heads = keys.size("num_attention_heads")?;
    let n_kv_heads = keys.optional_size("num_key_value_heads")?.unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(keys.misfit(
            "num_key_value_heads",
            &n_kv_heads,
            &format!("a divisor of the {n_heads} heads"),
        ));
    }
    let d_head = match keys.optional_size("head_dim")? {
        Some(d_head) => d_head,
        None => even_split(keys, "hidden_size", d_model, n_heads)?,
    };
    Ok(Heads { n_heads, n_kv_heads, d_head })
}

pub(super) struct Heads {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) d_head: usize,
}

/// The width of a head if the heads share the model's width.
pub(super) fn even_split(
    keys: &Keys,
    key: &str,
    d_model: usize,
    n_heads: usize,
) -> Result<usize, ModelError> {
    if d_model.is_multiple_of(n_heads) {
        Ok(d_model / n_heads)
    } else {
        Err(keys.misfit(key, &d_model, &format!("a multiple of the {n_heads} heads")))
    }
}

/// Takes `tie_word_embeddings`, and returns the head that it asks for.
pub(super) fn head(keys: &mut Keys, tied_by_default: bool) -> Result<Head, ModelError> {
    let tied = keys.or("tie_word_embeddings", tied_by_default)?;
    Ok(if tied { Head::Tied } else { Head::Untied })
}

/// Takes a flag that adds biases.
pub(super) fn bias(keys: &mut Keys, key: &str) -> Result<Bias, ModelError> {
    let with = keys.or(key, false)?;
    Ok(if with { Bias::With } else { Bias::Without })
}

/// Takes `sliding_window`, in a family whose layers all have the same.
pub(super) fn uniform_span(keys: &mut Keys, default: Option<usize>) -> Result<Span, ModelError> {
    // Null means full attention. Only a missing key takes the default.
    let window = if keys.has("sliding_window") { keys.optional_size("sliding_window")? } else { default };
    Ok(window.map_or(Span::Full, Span::Window))
}

/// Takes a soft cap. Null means none, and only a missing key takes the default.
pub(super) fn cap(keys: &mut Keys, key: &str, default: Option<f64>) -> Result<Option<f64>, ModelError> {
    if let Some(default) = default {
        keys.default_to(key, default);
    }
    match keys.optional::<f64>(key)? {
        Some(found) if !(found.is_finite() && found > 0.0) => {
            Err(keys.bad(key, &found, "a positive number or null"))
        }
        cap => Ok(cap),
    }
}
