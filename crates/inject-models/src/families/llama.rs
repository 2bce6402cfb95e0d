//! Llama 3.1, 3.2 and relatives such as SmolLM2.

use super::{
    Description, Family, Ignored, Names, Projection, Stored,
    keys::Keys,
    rotary::{self, Surroundings},
    settings::{activation, bias, head, heads, norm_eps},
};
use crate::{
    config::{
        AttentionConfig, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
        LearnedPositions, NormConfig, Residual, RmsWeight, Span,
    },
    error::ModelError,
};

/// Shared with Mistral, whose checkpoints use the same names.
pub(super) const NAMES: Names = Names {
    prefixes: &["model.", ""],
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
    // Older checkpoints store the frequencies, which follow from the config.
    ignored: &[Ignored::Suffix(".rotary_emb.inv_freq"), Ignored::Suffix("lm_head.weight")],
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // The way in which the reference splits products.
    "pretraining_tp",
];

pub(super) fn describe(mut keys: Keys) -> Result<Description, ModelError> {
    let bos_token_id = keys.bos_token_id()?;
    let vocab_size = keys.size("vocab_size")?;
    let hidden_size = keys.size("hidden_size")?;
    let intermediate_size = keys.size("intermediate_size")?;
    let num_hidden_layers = keys.n_layers("num_hidden_layers")?;
    let heads = heads(&mut keys, hidden_size)?;
    let activation = activation(&mut keys, "hidden_act", "silu")?;
    let max_position_embeddings = keys.size("max_position_embeddings")?;
    let eps = norm_eps(&mut keys, "rms_norm_eps", 1e-6)?;
    // One flag for all four projections of the attention.
    let attention_bias = bias(&mut keys, "attention_bias")?;
    let mlp_bias = bias(&mut keys, "mlp_bias")?;
    let head = head(&mut keys, false)?;
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
    };
    let rotary = rotary::take(&mut keys, &surroundings)?;
    keys.finish("llama", WITHOUT_INFLUENCE)?;

    let norm = NormConfig::Rms { eps, weight: RmsWeight::Factor };
    let block = BlockConfig {
        norm,
        residual: Residual::Pre,
        attention: AttentionConfig {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            d_head: heads.d_head,
            score_scale: (heads.d_head as f64).powf(-0.5),
            score_cap: None,
            span: Span::Full,
            rotary: Some(rotary),
            qk_norm: None,
            qkv_bias: attention_bias,
            out_bias: attention_bias,
        },
        feed_forward: FeedForwardConfig {
            d_ff: intermediate_size,
            kind: FeedForwardKind::Gated(activation),
            bias: mlp_bias,
        },
    };
    let config = DecoderConfig {
        d_model: hidden_size,
        vocab_size,
        embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::None },
        blocks: vec![block; num_hidden_layers],
        final_norm: norm,
        head,
        logit_cap: None,
    };
    Ok(Description { family: Family::Llama, config, bos_token_id })
}
