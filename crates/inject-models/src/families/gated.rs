//! Decoders of Llama's kind: RMS norms, rotations in place of learned positions, gated feed-forward blocks, no soft caps.

use super::{Description, Family, keys::Keys, settings::Heads};
use crate::config::{
    Activation, AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig,
    FeedForwardKind, Head, LearnedPositions, NormConfig, QkNorm, Residual, RmsWeight, RotaryConfig, Span,
};

/// The keys that nearly all families begin with, under their published names.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) bos_token_id: Option<i64>,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
}

impl Sizes {
    pub(super) fn take(keys: &mut Keys) -> Self {
        Sizes {
            bos_token_id: keys.bos_token_id(),
            vocab_size: keys.size("vocab_size"),
            hidden_size: keys.size("hidden_size"),
            intermediate_size: keys.size("intermediate_size"),
            num_hidden_layers: keys.n_layers("num_hidden_layers"),
        }
    }
}

/// The differences between such decoders. Like [`DecoderConfig`] it has no defaults: each family states them all.
pub(super) struct Gated {
    pub(super) family: Family,
    pub(super) sizes: Sizes,
    pub(super) heads: Heads,
    pub(super) activation: Activation,
    pub(super) eps: f64,
    pub(super) residual: Residual,
    /// The norm of queries and keys, made from the norm of the blocks.
    pub(super) qk_norm: Option<fn(NormConfig) -> QkNorm>,
    pub(super) qkv_bias: Bias,
    pub(super) out_bias: Bias,
    pub(super) feed_forward_bias: Bias,
    pub(super) head: Head,
    /// The span of each layer, and its rotation if it rotates.
    pub(super) layers: Vec<(Span, Option<RotaryConfig>)>,
}

impl Gated {
    pub(super) fn describe(self) -> Description {
        let Gated { sizes, heads, .. } = self;
        let norm = NormConfig::Rms { eps: self.eps, weight: RmsWeight::Factor };
        let block = |(span, rotary)| BlockConfig {
            norm,
            residual: self.residual,
            attention: AttentionConfig {
                n_heads: heads.n_heads,
                n_kv_heads: heads.n_kv_heads,
                d_head: heads.d_head,
                score_scale: (heads.d_head as f64).powf(-0.5),
                score_cap: None,
                span,
                rotary,
                qk_norm: self.qk_norm.map(|made_from| made_from(norm)),
                qkv_bias: self.qkv_bias,
                out_bias: self.out_bias,
            },
            feed_forward: FeedForwardConfig {
                d_ff: sizes.intermediate_size,
                kind: FeedForwardKind::Gated(self.activation),
                bias: self.feed_forward_bias,
            },
        };
        let config = DecoderConfig {
            d_model: sizes.hidden_size,
            vocab_size: sizes.vocab_size,
            embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::None },
            blocks: self.layers.into_iter().map(block).collect(),
            final_norm: norm,
            head: self.head,
            logit_cap: None,
        };
        Description { family: self.family, config, bos_token_id: sizes.bos_token_id }
    }
}
