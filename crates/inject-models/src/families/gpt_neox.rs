//! GPT-NeoX and Pythia.

use super::{
    Description, Family, Ignored, Names, Projection, Stored,
    gated::Sizes,
    keys::Keys,
    rotary::{self, Rotating, Surroundings},
    settings::{WIDTH_OF_HEADS, activation, epsilon, even_split, head, unused_layer_types},
};
use crate::config::{
    AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
    LearnedPositions, NormConfig, Residual, Span,
};

pub(super) const NAMES: Names = Names {
    prefixes: &["gpt_neox.", ""],
    embedding: "embed_in.weight",
    positions: "",
    final_norm: "final_layer_norm",
    head: "embed_out.weight",
    block: "layers.",
    attention_norm: "input_layernorm",
    post_attention_norm: "",
    feed_forward_norm: "post_attention_layernorm",
    post_feed_forward_norm: "",
    qkv: Projection { parts: &["attention.query_key_value"], stored: Stored::OutInByHead },
    q_norm: "",
    k_norm: "",
    out: Projection { parts: &["attention.dense"], stored: Stored::OutIn },
    up: Projection { parts: &["mlp.dense_h_to_4h"], stored: Stored::OutIn },
    down: Projection { parts: &["mlp.dense_4h_to_h"], stored: Stored::OutIn },
    // The masks as tensors, and a copy of the tied head.
    ignored: &[
        Ignored::Suffix(".attention.bias"),
        Ignored::Suffix(".attention.masked_bias"),
        Ignored::Suffix("embed_out.weight"),
        Ignored::Suffix("lm_head.weight"),
    ],
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    "classifier_dropout",
    "hidden_dropout",
    // transformers asks for it where it makes a cache, and attends to all tokens.
    "sliding_window",
];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_gpt_neox.py` and `configuration_gpt_neox.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let Sizes { bos_token_id, vocab_size, hidden_size, intermediate_size, num_hidden_layers } =
        Sizes::take(&mut keys);
    let num_attention_heads = keys.size("num_attention_heads");
    let activation = activation(&mut keys, "hidden_act", "gelu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(2048);
    let eps = epsilon(&mut keys, "layer_norm_eps", 1e-5);
    // Both projections of the attention. Those of the feed-forward branch always have biases.
    let attention_bias = if keys.or("attention_bias", true) { Bias::With } else { Bias::Without };
    let use_parallel_residual = keys.or("use_parallel_residual", true);
    let head = head(&mut keys, false);
    let d_head = even_split(&keys, "hidden_size", hidden_size, "num_attention_heads", num_attention_heads);
    // The rotary part of the reference reads this key, and its attention does not.
    if let Some(head_dim) = keys.optional_size("head_dim").filter(|&head_dim| head_dim != d_head) {
        keys.misfit(
            "head_dim",
            &head_dim,
            &format!("{d_head}, the width shared by the heads"),
            &[WIDTH_OF_HEADS],
        );
    }
    // The names that the other families have for two rotary settings. transformers does not read them here. Its older releases
    // wrote them beside this family's own.
    let rope_theta = keys.optional::<f64>("rope_theta");
    let partial_rotary_factor = keys.optional::<f64>("partial_rotary_factor");
    let surroundings = Surroundings {
        d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
        rotating: Rotating::Share { by_default: 0.25 },
    };
    let rotary = rotary::take_named(&mut keys, &surroundings, ["rotary_emb_base", "rotary_pct"]);
    if let Some(found) = rope_theta.filter(|&found| found != rotary.base) {
        let expected = format!("{}: this family reads `rotary_emb_base` in its place", rotary.base);
        keys.misfit("rope_theta", &found, &expected, &["rotary_emb_base"]);
    }
    let d_head = rotary::width(&keys, d_head);
    let share = rotary.rotary_dim as f64 / d_head as f64;
    if let Some(found) =
        partial_rotary_factor.filter(|&found| rotary::coordinates(d_head, found) != rotary.rotary_dim)
    {
        let expected = format!("{share}: this family reads `rotary_pct` in its place");
        keys.misfit("partial_rotary_factor", &found, &expected, &["rotary_pct", "partial_rotary_factor"]);
    }
    unused_layer_types(&mut keys, ("num_hidden_layers", num_hidden_layers));
    keys.finish("gpt_neox", WITHOUT_INFLUENCE);

    let norm = NormConfig::Layer { eps };
    let block = BlockConfig {
        norm,
        residual: if use_parallel_residual { Residual::Parallel } else { Residual::Pre },
        attention: AttentionConfig {
            n_heads: num_attention_heads,
            n_kv_heads: num_attention_heads,
            d_head,
            score_scale: (d_head as f64).powf(-0.5),
            score_cap: None,
            span: Span::Full,
            rotary: Some(rotary),
            qk_norm: None,
            qkv_bias: attention_bias,
            out_bias: attention_bias,
        },
        feed_forward: FeedForwardConfig {
            d_ff: intermediate_size,
            kind: FeedForwardKind::Plain(activation),
            bias: Bias::With,
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
    Description { family: Family::GptNeoX, config, bos_token_id }
}
