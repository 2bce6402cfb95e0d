//! Mistral 7B.

use super::{
    Description, Family,
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

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // transformers warns of it and gives every layer the same attention.
    "layer_types",
];

pub(super) fn describe(mut keys: Keys) -> Result<Description, ModelError> {
    let bos_token_id = keys.bos_token_id()?;
    let vocab_size = keys.size("vocab_size")?;
    let hidden_size = keys.size("hidden_size")?;
    let intermediate_size = keys.size("intermediate_size")?;
    let num_hidden_layers = keys.n_layers("num_hidden_layers")?;
    // The only family with a default for the grouped heads.
    keys.default_to("num_key_value_heads", 8);
    let heads = heads(&mut keys, hidden_size)?;
    let activation = activation(&mut keys, "hidden_act", "silu")?;
    let max_position_embeddings = keys.size("max_position_embeddings")?;
    let eps = norm_eps(&mut keys, "rms_norm_eps", 1e-6)?;
    let span = uniform_span(&mut keys, Some(4096))?;
    let head = head(&mut keys, false)?;
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
    };
    let rotary = rotary::take(&mut keys, &surroundings)?;
    keys.finish("mistral", WITHOUT_INFLUENCE)?;

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
    Ok(Description { family: Family::Mistral, config, bos_token_id })
}
