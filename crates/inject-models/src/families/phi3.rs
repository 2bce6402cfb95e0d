//! Phi-3 and Phi-4-mini.

use super::{
    Description, Family, Ignored, Names, Projection, Stored,
    keys::Keys,
    rotary::{self, Surroundings},
    settings::{activation, head, heads, norm_eps, uniform_span},
};
use crate::{
    config::{
        AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig,
        FeedForwardKind, LearnedPositions, NormConfig, Residual, RmsWeight,
    },
    error::ModelError,
};

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
    qkv: Projection { parts: &["self_attn.qkv_proj"], stored: Stored::OutIn },
    q_norm: "",
    k_norm: "",
    out: Projection { parts: &["self_attn.o_proj"], stored: Stored::OutIn },
    up: Projection { parts: &["mlp.gate_up_proj"], stored: Stored::OutIn },
    down: Projection { parts: &["mlp.down_proj"], stored: Stored::OutIn },
    ignored: &[Ignored::Suffix(".rotary_emb.inv_freq"), Ignored::Suffix("lm_head.weight")],
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    "embd_pdrop",
    // Phi-4-mini's file has settings of its remote code. The computation is that of Phi-3.
    "full_attn_mod",
    "interpolate_factor",
    "resid_pdrop",
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
    let original_max_position_embeddings =
        keys.optional_size("original_max_position_embeddings")?.unwrap_or(4096);
    let eps = norm_eps(&mut keys, "rms_norm_eps", 1e-5)?;
    let span = uniform_span(&mut keys, None)?;
    let head = head(&mut keys, false)?;
    // Present in Phi-4-mini's file, and false there.
    keys.only("attention_bias", false)?;
    keys.only("mlp_bias", false)?;
    keys.only("lm_head_bias", false)?;
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        // This key stands outside the rotary settings. It and its default override the value within them.
        original_len: Some(original_max_position_embeddings),
        default_base: 10_000.0,
    };
    let rotary = rotary::take(&mut keys, &surroundings)?;
    keys.finish("phi3", WITHOUT_INFLUENCE)?;

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
            span,
            rotary: Some(rotary),
            qk_norm: None,
            qkv_bias: Bias::Without,
            out_bias: Bias::Without,
        },
        feed_forward: FeedForwardConfig {
            d_ff: intermediate_size,
            kind: FeedForwardKind::Gated(activation),
            bias: Bias::Without,
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
    Ok(Description { family: Family::Phi3, config, bos_token_id })
}
