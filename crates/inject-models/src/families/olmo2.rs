//! OLMo 2.

use super::{
    Description, Family, Names,
    keys::Keys,
    llama,
    rotary::{self, Surroundings},
    settings::{activation, bias, head, heads, norm_eps},
};
use crate::{
    config::{
        AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig,
        FeedForwardKind, LearnedPositions, NormConfig, QkNorm, Residual, RmsWeight, Span,
    },
    error::ModelError,
};

pub(super) const NAMES: Names = Names {
    attention_norm: "",
    post_attention_norm: "post_attention_layernorm",
    feed_forward_norm: "",
    post_feed_forward_norm: "post_feedforward_layernorm",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    ..llama::NAMES
};

const WITHOUT_INFLUENCE: &[&str] = &["attention_dropout"];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_olmo2.py` and `configuration_olmo2.py`.
pub(super) fn describe(mut keys: Keys) -> Result<Description, ModelError> {
    let bos_token_id = keys.bos_token_id()?;
    let vocab_size = keys.size("vocab_size")?;
    let hidden_size = keys.size("hidden_size")?;
    let intermediate_size = keys.size("intermediate_size")?;
    let num_hidden_layers = keys.n_layers("num_hidden_layers")?;
    let heads = heads(&mut keys, hidden_size)?;
    let activation = activation(&mut keys, "hidden_act", "silu")?;
    let max_position_embeddings = keys.optional_size("max_position_embeddings")?.unwrap_or(2048);
    let eps = norm_eps(&mut keys, "rms_norm_eps", 1e-5)?;
    let attention_bias = bias(&mut keys, "attention_bias")?;
    let head = head(&mut keys, false)?;
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
    };
    let rotary = rotary::take(&mut keys, &surroundings)?;
    keys.finish("olmo2", WITHOUT_INFLUENCE)?;

    let norm = NormConfig::Rms { eps, weight: RmsWeight::Factor };
    let block = BlockConfig {
        norm,
        residual: Residual::Post,
        attention: AttentionConfig {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            d_head: heads.d_head,
            score_scale: (heads.d_head as f64).powf(-0.5),
            score_cap: None,
            span: Span::Full,
            rotary: Some(rotary),
            qk_norm: Some(QkNorm::AllHeads(norm)),
            qkv_bias: attention_bias,
            out_bias: attention_bias,
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
    Ok(Description { family: Family::Olmo2, config, bos_token_id })
}
