//! GPT-Neo, and TinyStories, which has its form.

use super::{
    Description, Family, Ignored, Names, Projection, Stored, gpt2,
    keys::Keys,
    settings::{activation, epsilon, even_split, head, one_a_layer, unused_layer_types},
};
use crate::config::{
    AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
    LearnedPositions, NormConfig, Residual, Span,
};

pub(super) const NAMES: Names = Names {
    qkv: Projection {
        parts: &["attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"],
        stored: Stored::OutIn,
    },
    out: Projection { parts: &["attn.attention.out_proj"], stored: Stored::OutIn },
    up: Projection { parts: &["mlp.c_fc"], stored: Stored::OutIn },
    down: Projection { parts: &["mlp.c_proj"], stored: Stored::OutIn },
    // The masks as tensors, and a copy of the tied head.
    ignored: &[
        Ignored::Suffix(".attn.attention.bias"),
        Ignored::Suffix(".attn.attention.masked_bias"),
        Ignored::Suffix("lm_head.weight"),
    ],
    ..gpt2::NAMES
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    "classifier_dropout",
    "embed_dropout",
    "gradient_checkpointing",
    "resid_dropout",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    // The base class asks whether there are any.
    "rope_parameters",
    // transformers asks for it where it makes a cache, and its layers have the spans of `attention_types`.
    "sliding_window",
];

/// The kind of attention of each layer, as Hugging Face's config expands it.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Global,
    Local,
}

pub(super) fn describe(mut keys: Keys) -> Description {
    // The names that transformers accepts for these keys in every family.
    keys.alias("num_attention_heads", "num_heads");
    keys.alias("num_hidden_layers", "num_layers");
    let bos_token_id = keys.bos_token_id();
    let vocab_size = keys.size("vocab_size");
    let max_position_embeddings = keys.size("max_position_embeddings");
    let hidden_size = keys.size("hidden_size");
    let num_layers = keys.n_layers("num_layers");
    let num_heads = keys.size("num_heads");
    let intermediate_size = keys.optional_size("intermediate_size").unwrap_or(4 * hidden_size);
    let activation = activation(&mut keys, "activation_function", "gelu_new");
    let eps = epsilon(&mut keys, "layer_norm_epsilon", 1e-5);
    let window_size = keys.optional_length("window_size").unwrap_or(256);
    let kinds = attention_kinds(&mut keys, num_layers);
    let head = head(&mut keys, true);
    let d_head = even_split(&keys, "hidden_size", hidden_size, "num_heads", num_heads);
    unused_layer_types(&mut keys, ("num_layers", num_layers));
    keys.finish("gpt_neo", WITHOUT_INFLUENCE);

    let norm = NormConfig::Layer { eps };
    let block = |kind: Kind| BlockConfig {
        norm,
        residual: Residual::Pre,
        attention: AttentionConfig {
            n_heads: num_heads,
            n_kv_heads: num_heads,
            d_head,
            // `modeling_gpt_neo.py` does not scale the scores.
            score_scale: 1.0,
            score_cap: None,
            span: match kind {
                Kind::Global => Span::Full,
                Kind::Local => Span::Window(window_size),
            },
            rotary: None,
            qk_norm: None,
            qkv_bias: Bias::Without,
            out_bias: Bias::With,
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
        embedding: EmbeddingConfig {
            scale: None,
            positions: LearnedPositions::Table { max_len: max_position_embeddings },
        },
        blocks: kinds.into_iter().map(block).collect(),
        final_norm: norm,
        head,
        logit_cap: None,
    };
    Description { family: Family::GptNeo, config, bos_token_id }
}

/// Takes `attention_types`, such as `[[["global", "local"], 6]]`, and `attention_layers`, the same list in full.
fn attention_kinds(keys: &mut Keys, num_layers: usize) -> Vec<Kind> {
    let types = keys.optional::<Vec<(Vec<Kind>, usize)>>("attention_types");
    let layers = keys.optional::<Vec<Kind>>("attention_layers");
    let expand = |types: Vec<(Vec<Kind>, usize)>| {
        // An empty list of kinds, repeated many times, would take forever.
        let filled = types.into_iter().filter(|(kinds, _)| !kinds.is_empty());
        let repeated = filled.flat_map(|(kinds, times)| std::iter::repeat_n(kinds, times).flatten());
        // One layer too many is enough for the error.
        repeated.take(num_layers + 1).collect()
    };
    let (key, kinds): (&str, Vec<Kind>) = match (layers, types) {
        (Some(layers), _) => ("attention_layers", layers),
        (None, Some(types)) => ("attention_types", expand(types)),
        (None, None) => {
            let pattern = vec![Kind::Global, Kind::Local];
            ("attention_types", expand(vec![(pattern, num_layers.div_ceil(2))]))
        }
    };
    one_a_layer(keys, key, &kinds, ("num_layers", num_layers));
    kinds
}
