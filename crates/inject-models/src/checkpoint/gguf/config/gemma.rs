//! Gemma 2 and 3, whose layers have windows in turn.

use serde_json::{Map, Value as Json, json};

use super::{
    Gguf, object,
    rotating::{Shape, base, decoder, linear_or_none, whole_head_rotates},
};
use crate::checkpoint::gguf::{settings::Settings, value::Value};

impl Gguf {
    pub(super) fn gemma3(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        // Ollama's names.
        settings.unify("rope.freq_base", "rope.global.freq_base");
        settings.unify("rope.freq_base_swa", "rope.local.freq_base");
        let (mut config, shape) = decoder(settings, "gemma3_text");
        whole_head_rotates(settings, &shape);
        // The largest model scales its scores by the share of a head in the width, all others by the width of a head.
        let scalar = if shape.n_layers == 62 { shape.d_model / shape.n_heads } else { shape.d_head };
        config.insert("query_pre_attn_scalar".to_owned(), json!(scalar));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        config.insert("hidden_activation".to_owned(), json!("gelu_pytorch_tanh"));
        config.insert("sliding_window".to_owned(), json!(settings.size("attention.sliding_window")));
        config.insert("layer_types".to_owned(), self.layer_types(settings, &shape, 6));
        let local = settings.optional_number("rope.freq_base_swa").unwrap_or(10_000.0);
        let base = base(settings, 1_000_000.0);
        let full = linear_or_none(settings, base);
        let sliding = json!({ "rope_type": "default", "rope_theta": local });
        config.insert(
            "rope_parameters".to_owned(),
            json!({ "sliding_attention": sliding, "full_attention": full }),
        );
        // The class of the family reads both keys and applies the latter, so they go where it reads them. 0 means none.
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let cap = settings.optional_number(key).filter(|cap| *cap != 0.0);
            config.insert(key.to_owned(), json!(cap));
        }
        config
    }

    pub(super) fn gemma2(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, "gemma2");
        whole_head_rotates(settings, &shape);
        // The largest model scales its scores by the share of a head in the width, the others by the width of a head.
        let scalar = if shape.n_layers == 46 { shape.d_model / shape.n_heads } else { shape.d_head };
        let window = settings.optional_size("attention.sliding_window").unwrap_or(4096);
        let score_cap = settings.optional_number("attn_logit_softcapping").unwrap_or(50.0);
        let logit_cap = settings.optional_number("final_logit_softcapping").unwrap_or(30.0);
        let base = base(settings, 10_000.0);
        let expected = "the value of `rope.freq_base`";
        settings.agrees("rope.freq_base_swa", &Value::Float(base), expected, &["rope.freq_base"]);
        let rotary = linear_or_none(settings, base);
        config.insert("layer_types".to_owned(), self.layer_types(settings, &shape, 2));
        config.extend(object(json!({
            "head_dim": shape.d_head,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": scalar,
            "sliding_window": window,
            "attn_logit_softcapping": score_cap,
            "final_logit_softcapping": logit_cap,
            "rope_parameters": rotary,
        })));
        config
    }

    /// Takes the layers that have a window: the file lists them, or gives a period of which the last layer has none. With a
    /// period of 0 every layer has one, as in llama.cpp.
    fn layer_types(&self, settings: &mut Settings<'_>, shape: &Shape, in_a_row: u64) -> Json {
        let sliding = match settings.optional_flags("attention.sliding_window_pattern") {
            Some(sliding) => sliding,
            None => {
                let pattern = settings.optional_size("attention.sliding_window_pattern");
                let pattern = pattern.unwrap_or(in_a_row);
                // The loop ends with the file: every layer has tensors in it.
                let n_layers = shape.n_layers.min(self.head.tensors.len() as u64);
                (1..=n_layers).map(|layer| !layer.is_multiple_of(pattern)).collect()
            }
        };
        let kind = |sliding: &bool| if *sliding { "sliding_attention" } else { "full_attention" };
        sliding.iter().map(kind).collect()
    }
}
