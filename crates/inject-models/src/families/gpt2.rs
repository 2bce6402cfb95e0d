//! GPT-2.

use super::{
    Description, Family, Ignored, Names, Projection, Stored,
    keys::Keys,
    settings::{activation, epsilon, even_split, head, unused_layer_types},
};
use crate::config::{
    AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
    LearnedPositions, NormConfig, Residual, Span,
};

pub(super) const NAMES: Names = Names {
    // transformers writes the prefix, and the files on the Hub do not have it.
    prefixes: &["transformer.", ""],
    embedding: "wte.weight",
    positions: "wpe.weight",
    final_norm: "ln_f",
    head: "lm_head.weight",
    block: "h.",
    attention_norm: "ln_1",
    post_attention_norm: "",
    feed_forward_norm: "ln_2",
    post_feed_forward_norm: "",
    qkv: Projection { parts: &["attn.c_attn"], stored: Stored::InOut },
    q_norm: "",
    k_norm: "",
    out: Projection { parts: &["attn.c_proj"], stored: Stored::InOut },
    up: Projection { parts: &["mlp.c_fc"], stored: Stored::InOut },
    down: Projection { parts: &["mlp.c_proj"], stored: Stored::InOut },
    // The causal mask as a tensor, and a copy of the tied head.
    ignored: &[
        Ignored::Suffix(".attn.bias"),
        Ignored::Suffix(".attn.masked_bias"),
        Ignored::Suffix("lm_head.weight"),
    ],
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attn_pdrop",
    "embd_pdrop",
    "n_ctx",
    // The order and the precision of products.
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "summary_activation",
    "summary_first_dropout",
    "summary_last_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    // Read and compared, not used.
    "head_dim",
    // The base class asks whether there are any.
    "rope_parameters",
    // transformers asks for it where it makes a cache, and attends to all tokens.
    "sliding_window",
];

pub(super) fn describe(mut keys: Keys) -> Description {
    // The names that transformers accepts for these keys in every family.
    keys.alias("hidden_size", "n_embd");
    keys.alias("max_position_embeddings", "n_positions");
    keys.alias("num_attention_heads", "n_head");
    keys.alias("num_hidden_layers", "n_layer");
    let bos_token_id = keys.bos_token_id();
    let vocab_size = keys.size("vocab_size");
    let n_positions = keys.size("n_positions");
    let n_embd = keys.size("n_embd");
    let n_layer = keys.n_layers("n_layer");
    let n_head = keys.size("n_head");
    let n_inner = keys.optional_size("n_inner").unwrap_or(4 * n_embd);
    let activation = activation(&mut keys, "activation_function", "gelu_new");
    let eps = epsilon(&mut keys, "layer_norm_epsilon", 1e-5);
    let scale_attn_weights = keys.or("scale_attn_weights", true);
    let scale_attn_by_inverse_layer_idx = keys.or("scale_attn_by_inverse_layer_idx", false);
    let head = head(&mut keys, true);
    let d_head = even_split(&keys, "n_embd", n_embd, "n_head", n_head);
    unused_layer_types(&mut keys, ("n_layer", n_layer));
    keys.finish("gpt2", WITHOUT_INFLUENCE);

    let norm = NormConfig::Layer { eps };
    let block = |layer: usize| {
        let by_width = if scale_attn_weights { (d_head as f64).powf(-0.5) } else { 1.0 };
        let by_depth = if scale_attn_by_inverse_layer_idx { 1.0 / (layer as f64 + 1.0) } else { 1.0 };
        BlockConfig {
            norm,
            residual: Residual::Pre,
            attention: AttentionConfig {
                n_heads: n_head,
                n_kv_heads: n_head,
                d_head,
                score_scale: by_width * by_depth,
                score_cap: None,
                span: Span::Full,
                rotary: None,
                qk_norm: None,
                qkv_bias: Bias::With,
                out_bias: Bias::With,
            },
            feed_forward: FeedForwardConfig {
                d_ff: n_inner,
                kind: FeedForwardKind::Plain(activation),
                bias: Bias::With,
            },
        }
    };
    let config = DecoderConfig {
        d_model: n_embd,
        vocab_size,
        embedding: EmbeddingConfig {
            scale: None,
            positions: LearnedPositions::Table { max_len: n_positions },
        },
        blocks: (0..n_layer).map(block).collect(),
        final_norm: norm,
        head,
        logit_cap: None,
    };
    Description { family: Family::Gpt2, config, bos_token_id }
}
