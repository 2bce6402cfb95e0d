//! Gemma 2.

use super::{
    Description, Family, Names,
    gated::Sizes,
    gemma3,
    keys::Keys,
    qwen2::{Kind, layer_types, spans_of},
    rotary,
    settings::{activation, bias, cap, epsilon, head, heads, positive},
};
use crate::config::{
    AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
    LearnedPositions, NormConfig, Residual, RmsWeight, Span,
};

pub(super) const NAMES: Names = Names { prefixes: &["model.", ""], q_norm: "", k_norm: "", ..gemma3::NAMES };

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    "cache_implementation",
    // Published files have it beside `hidden_activation`, and transformers reads the latter.
    "hidden_act",
];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_gemma2.py` and `configuration_gemma2.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let Sizes { bos_token_id, vocab_size, hidden_size, intermediate_size, num_hidden_layers } =
        Sizes::take(&mut keys);
    keys.default_to("num_attention_heads", 8);
    keys.default_to("num_key_value_heads", 4);
    keys.default_to("head_dim", 256);
    let heads = heads(&mut keys, hidden_size);
    let activation = activation(&mut keys, "hidden_activation", "gelu_pytorch_tanh");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(8192);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    let attention_bias = bias(&mut keys, "attention_bias");
    let query_pre_attn_scalar = positive(&mut keys, "query_pre_attn_scalar", 256.0);
    keys.default_to("sliding_window", 4096);
    let sliding_window = keys.optional_length("sliding_window");
    let layer_types = layer_types(&mut keys, num_hidden_layers).unwrap_or_else(|| {
        let kind =
            |layer: usize| if layer.is_multiple_of(2) { Kind::SlidingAttention } else { Kind::FullAttention };
        (0..num_hidden_layers).map(kind).collect()
    });
    let spans = spans_of(&keys, &layer_types, sliding_window);
    let attn_logit_softcapping = cap(&mut keys, "attn_logit_softcapping", Some(50.0));
    let final_logit_softcapping = cap(&mut keys, "final_logit_softcapping", Some(30.0));
    let head = head(&mut keys, true);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    keys.finish("gemma2", WITHOUT_INFLUENCE);

    let norm = NormConfig::Rms { eps, weight: RmsWeight::FactorLessOne };
    let block = |span: Span| BlockConfig {
        norm,
        residual: Residual::Sandwich,
        attention: AttentionConfig {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            d_head: heads.d_head,
            score_scale: query_pre_attn_scalar.powf(-0.5),
            score_cap: attn_logit_softcapping,
            span,
            rotary: Some(rotary.clone()),
            qk_norm: None,
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
        // The reference rounds this factor to the dtype of the embedding, this crate to the dtype it computes in.
        embedding: EmbeddingConfig {
            scale: Some((hidden_size as f64).sqrt()),
            positions: LearnedPositions::None,
        },
        blocks: spans.into_iter().map(block).collect(),
        final_norm: norm,
        head,
        logit_cap: final_logit_softcapping,
    };
    Description { family: Family::Gemma2, config, bos_token_id }
}
