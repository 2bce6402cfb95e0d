//! Settings that several families have, read from their keys.

use serde::Serialize;
use serde_json::Value;

use super::keys::Keys;
use crate::config::{Activation, Bias, Head, Span};

/// Takes the name of an activation.
///
/// # Source
///
/// Hugging Face transformers 5.23, `activations.py`: the names of one line here are the same formula. The constant of
/// `gelu_fast` is cut after ten digits, which are more than an f32 has.
pub(super) fn activation(keys: &mut Keys, key: &str, default: &str) -> Activation {
    let name = keys.or(key, default.to_owned());
    match name.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" | "gelu_fast" => {
            Activation::GeluTanh
        }
        "gelu" | "gelu_python" => Activation::GeluErf,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        _ => {
            keys.bad(key, &name, "`gelu_new`, `gelu_pytorch_tanh`, `gelu`, `silu` or `relu`");
            Activation::Silu
        }
    }
}

/// Takes a positive number.
pub(super) fn positive(keys: &mut Keys, key: &str, default: f64) -> f64 {
    optional_positive(keys, key).unwrap_or(default)
}

/// Takes the number that a norm adds to the variance or mean square, which may be 0.
pub(super) fn epsilon(keys: &mut Keys, key: &str, default: f64) -> f64 {
    let found = keys.optional::<f64>(key).unwrap_or(default);
    if !(found.is_finite() && found >= 0.0) {
        keys.bad(key, &found, "a number from 0 on");
    }
    found
}

/// Takes a positive number that may be missing or null.
pub(super) fn optional_positive(keys: &mut Keys, key: &str) -> Option<f64> {
    let found = keys.optional(key)?;
    checked_positive(keys, key, found)
}

/// Takes a positive number that must be there.
pub(super) fn required_positive(keys: &mut Keys, key: &str) -> f64 {
    keys.required(key).and_then(|found| checked_positive(keys, key, found)).unwrap_or(1.0)
}

fn checked_positive(keys: &Keys, key: &str, found: f64) -> Option<f64> {
    if found.is_finite() && found > 0.0 {
        return Some(found);
    }
    keys.bad(key, &found, "a positive number");
    None
}

/// The name of the width of a head, which follows from keys.
pub(super) const WIDTH_OF_HEADS: &str = "the width of a head";

/// Takes the number of heads, key and value heads, and the width of a head, and checks that they fit together.
pub(super) fn heads(keys: &mut Keys, d_model: usize) -> Heads {
    let n_heads = keys.size("num_attention_heads");
    let n_kv_heads = keys.optional_size("num_key_value_heads").unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv_heads) {
        let expected = format!("a divisor of the {n_heads} heads");
        keys.misfit("num_key_value_heads", &n_kv_heads, &expected, &["num_attention_heads"]);
    }
    let d_head = match keys.optional_size("head_dim") {
        Some(d_head) => d_head,
        None => even_split(keys, "hidden_size", d_model, "num_attention_heads", n_heads),
    };
    Heads { n_heads, n_kv_heads, d_head }
}

pub(super) struct Heads {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) d_head: usize,
}

/// Returns the width of a head if the heads share the model's width. Each number comes with its key. With a problem in them, or in
/// `head_dim`, the width is unknown.
pub(super) fn even_split(
    keys: &Keys,
    width_key: &str,
    d_model: usize,
    heads_key: &str,
    n_heads: usize,
) -> usize {
    if !d_model.is_multiple_of(n_heads) {
        let expected = format!("a multiple of the {n_heads} heads");
        keys.misfit(width_key, &d_model, &expected, &[heads_key, "head_dim"]);
    }
    keys.follows(WIDTH_OF_HEADS, &[width_key, heads_key, "head_dim"]);
    (d_model / n_heads).max(1)
}

/// Takes `tie_word_embeddings`, and returns the head that it asks for.
pub(super) fn head(keys: &mut Keys, tied_by_default: bool) -> Head {
    if keys.or("tie_word_embeddings", tied_by_default) { Head::Tied } else { Head::Untied }
}

/// Takes a flag that adds biases.
pub(super) fn bias(keys: &mut Keys, key: &str) -> Bias {
    if keys.or(key, false) { Bias::With } else { Bias::Without }
}

/// Takes `sliding_window`, in a family whose layers all have the same.
pub(super) fn uniform_span(keys: &mut Keys, default: Option<usize>) -> Span {
    // Null means full attention. Only a missing key takes the default.
    let window = if keys.has("sliding_window") { keys.optional_length("sliding_window") } else { default };
    window.map_or(Span::Full, Span::Window)
}

/// Takes a soft cap. Null means none, and only a missing key takes the default.
pub(super) fn cap(keys: &mut Keys, key: &str, default: Option<f64>) -> Option<f64> {
    if let Some(default) = default {
        keys.default_to(key, default);
    }
    let cap = keys.optional::<f64>(key)?;
    if !(cap.is_finite() && cap > 0.0) {
        keys.bad(key, &cap, "a positive number or null");
    }
    Some(cap)
}

/// Takes the kinds of layers in a family whose layers do not depend on them, and checks them as transformers does.
pub(super) fn unused_layer_types(keys: &mut Keys, layers: (&str, usize)) {
    if let Some(kinds) = keys.optional::<Vec<Value>>("layer_types") {
        check_kinds(keys, "layer_types", &kinds, ATTENTION_KINDS, layers);
        unused_mlp_layer_types(keys, layers);
    }
}

/// As [`unused_layer_types`], for the kinds of feed-forward blocks. transformers checks them where it checks `layer_types`.
pub(super) fn unused_mlp_layer_types(keys: &mut Keys, layers: (&str, usize)) {
    if let Some(kinds) = keys.optional::<Vec<Value>>("mlp_layer_types") {
        check_kinds(keys, "mlp_layer_types", &kinds, &["sparse", "dense"], layers);
    }
}

fn check_kinds(keys: &Keys, key: &str, kinds: &[Value], known: &[&str], layers: (&str, usize)) {
    let is_known = |kind: &Value| kind.as_str().is_some_and(|kind| known.contains(&kind));
    if !kinds.iter().all(is_known) {
        keys.bad(key, &kinds, &format!("kinds of layers, of {}", known.join(", ")));
    }
    one_a_layer(keys, key, kinds, layers);
}

/// The kinds of layers of all models, and their older names.
///
/// # Source
///
/// Hugging Face transformers 5.24, `configuration_utils.py` (`ALLOWED_ATTN_LAYER_TYPES`, `_LEGACY_LAYER_TYPE_REMAP`,
/// `validate_layer_type`).
const ATTENTION_KINDS: &[&str] = &[
    "full_attention",
    "sliding_attention",
    "chunked_attention",
    "window_attention",
    "indexed_attention",
    "compressed_sparse_attention",
    "heavily_compressed_attention",
    "minimax_m3_sparse",
    "conv",
    "moe",
    "hybrid",
    "hybrid_sliding",
    "reference_sliding_attention",
    "linear_attention",
    "mamba",
    "attention",
    "deepseek_sparse_attention",
    "qwen_sparse_attention",
];

/// Checks that a list has one kind for each layer.
pub(super) fn one_a_layer<T: Serialize>(keys: &Keys, key: &str, kinds: &[T], layers: (&str, usize)) {
    let (layers_key, n_layers) = layers;
    if kinds.len() != n_layers {
        let expected = format!("one kind for each of the {n_layers} layers");
        keys.misfit(key, &kinds, &expected, &[layers_key]);
    }
}
