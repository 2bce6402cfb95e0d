//! Qwen3, the dense models.

use super::{
    Description, Family, Names,
    gated::{Gated, Sizes},
    keys::Keys,
    llama, qwen2, rotary,
    settings::{activation, bias, epsilon, head, heads},
};
use crate::config::{Bias, QkNorm, Residual};

pub(super) const NAMES: Names =
    Names { q_norm: "self_attn.q_norm", k_norm: "self_attn.k_norm", ..llama::NAMES };

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // Compared with keys that other families have.
    "num_heads",
];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_qwen3.py` and `configuration_qwen3.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    // Missing keys have defaults. A null number of key and value heads means as many as there are query heads.
    keys.default_to("num_key_value_heads", 32);
    keys.default_to("head_dim", 128);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(32_768);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    // One flag for all four projections of the attention.
    let attention_bias = bias(&mut keys, "attention_bias");
    let spans = qwen2::spans(&mut keys, sizes.num_hidden_layers);
    let head = head(&mut keys, false);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    keys.finish("qwen3", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Qwen3,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Pre,
        qk_norm: Some(QkNorm::PerHead),
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        feed_forward_bias: Bias::Without,
        head,
        layers: spans.into_iter().map(|span| (span, Some(rotary.clone()))).collect(),
    };
    gated.describe()
}
