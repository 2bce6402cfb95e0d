//! Llama 3.1, 3.2 and relatives such as SmolLM2.

use super::{
    Description, Family, Ignored, Names, Projection, Stored,
    gated::{Gated, Sizes},
    keys::Keys,
    rotary,
    settings::{activation, bias, epsilon, head, heads, unused_layer_types},
};
use crate::config::{Residual, Span};

/// Most of them are those of later families too.
pub(super) const NAMES: Names = Names {
    // The last is that of transformers' classes for answers to questions.
    prefixes: &["model.", "", "transformer."],
    embedding: "embed_tokens.weight",
    positions: "",
    final_norm: "norm",
    head: "lm_head.weight",
    block: "layers.",
    attention_norm: "input_layernorm",
    post_attention_norm: "",
    feed_forward_norm: "post_attention_layernorm",
    post_feed_forward_norm: "",
    qkv: Projection {
        parts: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        stored: Stored::OutIn,
    },
    q_norm: "",
    k_norm: "",
    out: Projection { parts: &["self_attn.o_proj"], stored: Stored::OutIn },
    up: Projection { parts: &["mlp.gate_proj", "mlp.up_proj"], stored: Stored::OutIn },
    down: Projection { parts: &["mlp.down_proj"], stored: Stored::OutIn },
    ignored: &[Ignored::Suffix("lm_head.weight")],
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // The way in which the reference splits products.
    "pretraining_tp",
    // transformers asks for it where it makes a cache, and attends to all tokens.
    "sliding_window",
];

pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(2048);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    // One flag for all four projections of the attention.
    let attention_bias = bias(&mut keys, "attention_bias");
    let mlp_bias = bias(&mut keys, "mlp_bias");
    let head = head(&mut keys, false);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    unused_layer_types(&mut keys, ("num_hidden_layers", sizes.num_hidden_layers));
    keys.finish("llama", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Llama,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Pre,
        qk_norm: None,
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        feed_forward_bias: mlp_bias,
        head,
        layers: vec![(Span::Full, Some(rotary)); sizes.num_hidden_layers],
    };
    gated.describe()
}
