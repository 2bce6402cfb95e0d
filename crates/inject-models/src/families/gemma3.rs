//! Gemma 3: text-only checkpoints, and the text part of multimodal ones.

use serde_json::Value;

use super::{
    Description, Family, Ignored, Names,
    gated::Sizes,
    keys::Keys,
    llama,
    qwen2::{Kind, layer_types, spans_of},
    rotary::{self, Outside, Surroundings},
    settings::{activation, bias, cap, epsilon, head, heads, optional_positive, positive},
};
use crate::config::{
    AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
    LearnedPositions, NormConfig, QkNorm, Residual, RmsWeight, RotaryConfig, Span,
};

pub(super) const NAMES: Names = Names {
    // Text-only files, multimodal files as published, and multimodal files as transformers 5 writes them.
    prefixes: &[
        "model.",
        "language_model.model.",
        "model.language_model.",
        "",
        // The others that transformers 5.24 renames (`conversion_mapping.py`: `LlavaModel`, `llava`, and the last ones in `legacy`).
        "language_model.",
        "model.language_model.model.",
        "language_model.model.model.",
    ],
    post_attention_norm: "post_attention_layernorm",
    feed_forward_norm: "pre_feedforward_layernorm",
    post_feed_forward_norm: "post_feedforward_layernorm",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    ignored: &[
        Ignored::Prefix("vision_tower."),
        Ignored::Prefix("model.vision_tower."),
        Ignored::Prefix("multi_modal_projector."),
        Ignored::Prefix("model.multi_modal_projector."),
        Ignored::Suffix("lm_head.weight"),
    ],
    ..llama::NAMES
};

const WITHOUT_INFLUENCE: &[&str] = &[
    // Written by transformers 5 beside `layer_types`, and not read back.
    "_sliding_window_pattern",
    // The attention of transformers' class has this number and never uses it (5.24).
    "attn_logit_softcapping",
    "attention_dropout",
    "cache_implementation",
];

/// Keys of a multimodal file beside `text_config`. They concern images, or transformers reads them in the text part.
const WITHOUT_INFLUENCE_ON_TEXT: &[&str] = &[
    "boi_token_id",
    "boi_token_index",
    "eoi_token_id",
    "eoi_token_index",
    "head_dim",
    "image_token_id",
    "image_token_index",
    "layer_types",
    "mm_tokens_per_image",
    "rope_parameters",
    "text_encoder",
    "tie_word_embeddings",
    "vision_config",
];

pub(super) fn describe(mut keys: Keys, model_type: &str) -> Description {
    if model_type == "gemma3_text" {
        return describe_text(keys);
    }
    let outer_bos = keys.bos_token_id();
    let tie_word_embeddings = keys.or("tie_word_embeddings", true);
    let mut text = keys.nested("text_config").unwrap_or_else(|| {
        keys.missing("text_config", "an object with the settings of the text part");
        keys.empty("text_config")
    });
    keys.finish("gemma3", WITHOUT_INFLUENCE_ON_TEXT);
    // Published files leave out values that equal the defaults of the class, among them most sizes of the attention.
    text.default_to("vocab_size", 262_208);
    text.default_to("hidden_size", 2304);
    text.default_to("intermediate_size", 9216);
    text.default_to("num_hidden_layers", 26);
    text.default_to("num_attention_heads", 8);
    text.default_to("num_key_value_heads", 4);
    text.default_to("head_dim", 256);
    // transformers' class of the whole has a head of its own, which does not read these keys of the text part.
    text.overrule("tie_word_embeddings", tie_word_embeddings);
    text.overrule("final_logit_softcapping", Value::Null);
    let description = describe_text(text);
    Description { bos_token_id: description.bos_token_id.or(outer_bos), ..description }
}

fn describe_text(mut keys: Keys) -> Description {
    let Sizes { bos_token_id, vocab_size, hidden_size, intermediate_size, num_hidden_layers } =
        Sizes::take(&mut keys);
    keys.default_to("head_dim", 256);
    let heads = heads(&mut keys, hidden_size);
    let activation = activation(&mut keys, "hidden_activation", "gelu_pytorch_tanh");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(131_072);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    let attention_bias = bias(&mut keys, "attention_bias");
    let query_pre_attn_scalar = positive(&mut keys, "query_pre_attn_scalar", 256.0);
    keys.default_to("sliding_window", 4096);
    let sliding_window = keys.optional_length("sliding_window");
    let kinds = layer_kinds(&mut keys, num_hidden_layers);
    let spans = spans_of(&keys, &kinds, sliding_window);
    let head = head(&mut keys, true);
    let final_logit_softcapping = cap(&mut keys, "final_logit_softcapping", None);
    let (local, global) = rotaries(&mut keys, heads.d_head, max_position_embeddings);
    keys.finish("gemma3", WITHOUT_INFLUENCE);

    let norm = NormConfig::Rms { eps, weight: RmsWeight::FactorLessOne };
    let block = |(kind, span): (Kind, Span)| BlockConfig {
        norm,
        residual: Residual::Sandwich,
        attention: AttentionConfig {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            d_head: heads.d_head,
            score_scale: query_pre_attn_scalar.powf(-0.5),
            score_cap: None,
            span,
            rotary: Some(match kind {
                Kind::SlidingAttention => local.clone(),
                Kind::FullAttention => global.clone(),
            }),
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
        // The reference rounds this factor to the dtype of the embedding, this crate to the dtype it computes in.
        embedding: EmbeddingConfig {
            scale: Some((hidden_size as f64).sqrt()),
            positions: LearnedPositions::None,
        },
        blocks: kinds.into_iter().zip(spans).map(block).collect(),
        final_norm: norm,
        head,
        logit_cap: final_logit_softcapping,
    };
    Description { family: Family::Gemma3, config, bos_token_id }
}

/// Takes `layer_types`, or the older `sliding_window_pattern`, the period of the layers with full attention.
fn layer_kinds(keys: &mut Keys, n_layers: usize) -> Vec<Kind> {
    let pattern = keys.optional_size("sliding_window_pattern").unwrap_or(6);
    layer_types(keys, n_layers).unwrap_or_else(|| {
        let kind = |layer: usize| match (layer + 1).is_multiple_of(pattern) {
            true => Kind::FullAttention,
            false => Kind::SlidingAttention,
        };
        (0..n_layers).map(kind).collect()
    })
}

/// Takes the rotary settings of the sliding and of the full layers, in either spelling. In the older one the scaling
/// applies to the full layers only.
fn rotaries(keys: &mut Keys, d_head: usize, max_len: usize) -> (RotaryConfig, RotaryConfig) {
    let [global, local] =
        [1_000_000.0, 10_000.0].map(|base| Surroundings::of_whole_heads(d_head, max_len, base));
    rotary::take_share(keys, &global);
    let rope_theta = optional_positive(keys, "rope_theta");
    let rope_local_base_freq = optional_positive(keys, "rope_local_base_freq");
    let newer = keys.nested("rope_parameters");
    let mut older = keys.nested("rope_scaling");
    if let Some(older) = older.as_mut().filter(|older| newer.is_none() && !older.has("rope_type")) {
        // transformers puts these settings over `"rope_type": "default"`, and then does not read `type`.
        older.overrule("type", "default");
    }
    let (sliding, full) = match newer {
        None => (None, None),
        Some(mut newer) => {
            let kinds = (newer.nested("sliding_attention"), newer.nested("full_attention"));
            newer.finish("gemma3", &[]);
            kinds
        }
    };
    let read = |found: Option<Keys>, base: Option<f64>, surroundings: &Surroundings| {
        let found = found.unwrap_or_else(|| keys.empty("rope_parameters"));
        rotary::parse(found, Outside { base, ..Outside::default() }, surroundings)
    };
    let read_full = |found: Option<Keys>| read(found, rope_theta, &global);
    let full = match (older, full) {
        (Some(older), Some(newer)) => rotary::both(keys, older, newer, |found| read_full(Some(found))),
        (older, newer) => read_full(older.or(newer)),
    };
    (read(sliding, rope_local_base_freq, &local), full)
}
