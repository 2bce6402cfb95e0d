//! Small decoders of every family.

use inject_sipit::models::{DecoderConfig, Family};
use serde_json::{Value, json};

use crate::outcome::Failure;

/// The longest sequence of the families that have a limit.
pub(crate) const POSITIONS: usize = 128;

const HEADS: usize = 4;
/// Shared by two query heads each, where a family can.
const KV_HEADS: usize = 2;
/// Wider than any prompt here: a window would hide the first tokens of a long prompt from the first blocks.
const WINDOW: usize = 256;

/// Standard deviation of the first weights: GPT-2's 0.02 at its width of 768, and as the root of the width elsewhere, so that
/// every product has the same scale.
pub(crate) fn init_std(d_model: usize) -> f64 {
    0.02 * (768.0 / d_model as f64).sqrt()
}

/// A decoder of a family: 4 heads, feed-forward branches 4 times as wide as the stream, or 3 times where they are gated.
pub(crate) fn config(
    family: Family,
    d_model: usize,
    n_layers: usize,
    vocab_size: usize,
) -> Result<DecoderConfig, Failure> {
    match config_json(family, d_model, n_layers, vocab_size) {
        Some(json) => Ok(DecoderConfig::parse(&json.to_string())?),
        None => Err(Failure::new(format!("this study has no small decoder of the family {family}"))),
    }
}

/// The config of a family as transformers writes it.
fn config_json(family: Family, d_model: usize, n_layers: usize, vocab_size: usize) -> Option<Value> {
    let rotary = |model_type: &str, more: Value| {
        let mut keys = json!({
            "model_type": model_type,
            "hidden_size": d_model,
            "intermediate_size": 3 * d_model,
            "num_hidden_layers": n_layers,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "max_position_embeddings": POSITIONS,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "tie_word_embeddings": false,
            "vocab_size": vocab_size,
        });
        if let (Value::Object(keys), Value::Object(more)) = (&mut keys, more) {
            keys.extend(more);
        }
        keys
    };
    Some(match family {
        Family::Gpt2 => json!({
            "model_type": "gpt2",
            "n_embd": d_model,
            "n_head": HEADS,
            "n_layer": n_layers,
            "n_positions": POSITIONS,
            "vocab_size": vocab_size,
        }),
        Family::GptNeo => json!({
            "model_type": "gpt_neo",
            "attention_layers": (0..n_layers).map(|i| ["global", "local"][i % 2]).collect::<Vec<_>>(),
            "hidden_size": d_model,
            "max_position_embeddings": POSITIONS,
            "num_heads": HEADS,
            "num_layers": n_layers,
            "vocab_size": vocab_size,
            "window_size": WINDOW,
        }),
        Family::Llama => rotary("llama", json!({})),
        Family::Mistral => rotary("mistral", json!({ "sliding_window": WINDOW })),
        Family::Gemma3 => rotary(
            "gemma3_text",
            json!({
                "head_dim": d_model / HEADS,
                "query_pre_attn_scalar": d_model / HEADS,
                "rope_local_base_freq": 10_000.0,
                "sliding_window": WINDOW,
                "sliding_window_pattern": 2,
                "tie_word_embeddings": true,
            }),
        ),
        Family::Qwen2 => rotary("qwen2", json!({})),
        Family::Qwen3 => rotary("qwen3", json!({ "head_dim": d_model / HEADS })),
        Family::Gemma2 => rotary(
            "gemma2",
            json!({
                "head_dim": d_model / HEADS,
                "query_pre_attn_scalar": d_model / HEADS,
                "sliding_window": WINDOW,
                "tie_word_embeddings": true,
            }),
        ),
        Family::SmolLm3 => rotary("smollm3", json!({ "no_rope_layer_interval": 2 })),
        Family::Olmo2 => rotary("olmo2", json!({})),
        Family::GptNeoX => json!({
            "model_type": "gpt_neox",
            "hidden_size": d_model,
            "intermediate_size": 4 * d_model,
            "max_position_embeddings": POSITIONS,
            "num_attention_heads": HEADS,
            "num_hidden_layers": n_layers,
            "vocab_size": vocab_size,
            // The narrowest heads of this study have two coordinates, and fewer cannot rotate.
            "rotary_pct": 1.0,
        }),
        Family::Phi3 => {
            rotary("phi3", json!({ "original_max_position_embeddings": POSITIONS, "sliding_window": WINDOW }))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_small_form() {
        for &family in Family::all() {
            let config = config(family, 32, 4, 100).unwrap();
            assert_eq!((config.d_model, config.n_layers(), config.vocab_size), (32, 4, 100));
        }
    }
}
