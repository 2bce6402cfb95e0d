//! OLMo 2.

use super::{
    Description, Family, Names,
    gated::{Gated, Sizes},
    keys::Keys,
    llama, rotary,
    settings::{activation, bias, epsilon, head, heads, unused_layer_types},
};
use crate::config::{Bias, QkNorm, Residual, Span};

pub(super) const NAMES: Names = Names {
    attention_norm: "",
    post_attention_norm: "post_attention_layernorm",
    feed_forward_norm: "",
    post_feed_forward_norm: "post_feedforward_layernorm",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    ..llama::NAMES
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // transformers asks for it where it makes a cache, and attends to all tokens.
    "sliding_window",
];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_olmo2.py` and `configuration_olmo2.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(2048);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-5);
    let attention_bias = bias(&mut keys, "attention_bias");
    let head = head(&mut keys, false);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    unused_layer_types(&mut keys, ("num_hidden_layers", sizes.num_hidden_layers));
    keys.finish("olmo2", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Olmo2,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Post,
        qk_norm: Some(QkNorm::AllHeads),
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        feed_forward_bias: Bias::Without,
        head,
        layers: vec![(Span::Full, Some(rotary)); sizes.num_hidden_layers],
    };
    gated.describe()
}
