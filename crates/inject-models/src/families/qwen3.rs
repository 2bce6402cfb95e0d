//! Qwen3, the dense models.

use super::{
    Description, Family, Names,
    keys::Keys,
    llama, qwen2,
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

pub(super) const NAMES: Names =
    Names { q_norm: "self_attn.q_norm", k_norm: "self_attn.k_norm", ..llama::NAMES };

const WITHOUT_INFLUENCE: &[&str] = &["attention_dropout"];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_qwen3.py` and `configuration_qwen3.py`.
pub(super) fn describe(mut keys: Keys) -> Result<Description, ModelError> {
    let bos_token_id = keys.bos_token_id()?;
    let vocab_size = keys.size("vocab_size")?;
    let hidden_size = keys.size("hidden_size")?;
    let intermediate_size = keys.size("intermediate_size")?;
    let num_hidden_layers = keys.n_layers("num_hidden_layers")?;
    // Missing keys have defaults. A null number of key and value heads means as many as there are query heads.
    keys.default_to("num_key_value_heads", 32);
    keys.default_to("head_dim", 128);
    let heads = heads(&mut keys, hidden_size)?;
    let activation = activation(&mut keys, "hidden_act", "silu")?;
    let max_position_embeddings = keys.optional_size("max_position_embeddings")?.unwrap_or(32_768);
    let eps = norm_eps(&mut keys, "rms_norm_eps", 1e-6)?;
    // One flag for all four projections of the attention.
    let attention_bias = bias(&mut keys, "attention_bias")?;
    let spans = qwen2::spans(&mut keys, num_hidden_layers)?;
    let head = head(&mut keys, false)?;
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
    };
    let rotary = rotary::take(&mut keys, &surroundings)?;
    keys.finish("qwen3", WITHOUT_INFLUENCE)?;

    let norm = NormConfig::Rms { eps, weight: RmsWeight::Factor };
    let block = |span: Span| BlockConfig {
        norm,
        residual: Residual::Pre,
        attention: AttentionConfig {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            d_head: heads.d_head,
            score_scale: (heads.d_head as f64).powf(-0.5),
            score_cap: None,
            span,
            rotary: Some(rotary.clone()),
            qk_norm: Some(QkNorm::PerHead(norm)),
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
        blocks: spans.into_iter().map(block).collect(),
        final_norm: norm,
        head,
        logit_cap: None,
    };
    Ok(Description { family: Family::Qwen3, config, bos_token_id })
}
