//! The settings that all architectures with rotations have.

use serde_json::{Map, Value as Json, json};

use super::object;
use crate::checkpoint::gguf::{architecture::Heads, settings::Settings, value::Value};

/// The sizes that other settings depend on.
pub(super) struct Shape {
    pub(super) d_model: u64,
    pub(super) d_head: u64,
    /// The keys from which the width of a head follows.
    pub(super) d_head_from: &'static [&'static str],
    pub(super) n_heads: u64,
    pub(super) n_layers: u64,
    pub(super) max_len: u64,
}

pub(super) fn base(settings: &mut Settings<'_>, default: f64) -> f64 {
    settings.optional_number("rope.freq_base").unwrap_or(default)
}

/// Takes the settings that all architectures with rotations have.
pub(super) fn decoder(settings: &mut Settings<'_>, model_type: &str) -> (Map<String, Json>, Shape) {
    let n_layers = settings.size("block_count");
    let d_model = settings.size("embedding_length");
    let d_ff = settings.size("feed_forward_length");
    let max_len = settings.size("context_length");
    let Heads { query: n_heads, key: n_kv_heads } = Heads::take(settings);
    // Ollama's name.
    settings.unify("attention.key_length", "attention.head_dim");
    let key_length = settings.optional_size("attention.key_length");
    let d_head = key_length.unwrap_or(d_model / n_heads);
    let d_head_from: &[&str] = match key_length {
        Some(_) => &["attention.key_length"],
        None => &["attention.key_length", "embedding_length", "attention.head_count"],
    };
    let expected = format!("the key_length {d_head}");
    settings.agrees("attention.value_length", &Value::Unsigned(d_head), &expected, d_head_from);
    let epsilon = settings.number("attention.layer_norm_rms_epsilon");
    // Ollama has both keys where a config.json has both.
    let expected = format!("the layer_norm_rms_epsilon {epsilon}");
    let others = &["attention.layer_norm_rms_epsilon"];
    settings.agrees("attention.layer_norm_epsilon", &Value::Float(epsilon), &expected, others);
    let config = object(json!({
        "model_type": model_type,
        "hidden_size": d_model,
        "intermediate_size": d_ff,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": max_len,
        "rms_norm_eps": epsilon,
    }));
    (config, Shape { d_model, d_head, d_head_from, n_heads, n_layers, max_len })
}

pub(super) fn whole_head_rotates(settings: &mut Settings<'_>, shape: &Shape) {
    let d_head = shape.d_head;
    let expected = format!("the width of a head, {d_head}");
    settings.agrees("rope.dimension_count", &Value::Unsigned(d_head), &expected, shape.d_head_from);
}

/// Takes the scaling of the rotation: none, or linear. In the older spelling the factor stands alone.
pub(super) fn linear_or_none(settings: &mut Settings<'_>, base: f64) -> Json {
    let kind = settings.optional_text("rope.scaling.type");
    settings.unify("rope.scaling.factor", "rope.scale_linear");
    let factor = settings.optional_number("rope.scaling.factor");
    settings.only("rope.scaling.attn_factor", &Value::Float(1.0), "1");
    match (kind, factor) {
        (None | Some("linear"), Some(factor)) if factor != 1.0 && factor != 0.0 => {
            return json!({ "rope_type": "linear", "rope_theta": base, "factor": factor });
        }
        (None | Some("none" | "linear"), _) => {}
        (Some(other), _) => settings.bad("rope.scaling.type", &format!("{other:?}"), "`none` or `linear`"),
    }
    json!({ "rope_type": "default", "rope_theta": base })
}
