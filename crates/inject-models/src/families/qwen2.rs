//! Qwen2 and Qwen2.5.

use serde_json::Value;

use super::{
    Description, Family,
    gated::{Gated, Sizes},
    keys::Keys,
    rotary,
    settings::{activation, epsilon, head, heads, one_a_layer, unused_mlp_layer_types},
};
use crate::config::{Bias, Residual, Span};

const WITHOUT_INFLUENCE: &[&str] = &["attention_dropout"];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_qwen2.py` and `configuration_qwen2.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    // A missing key has a default, and null means as many as there are query heads.
    keys.default_to("num_key_value_heads", 32);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(32_768);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    let spans = spans(&mut keys, sizes.num_hidden_layers);
    let head = head(&mut keys, false);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    keys.finish("qwen2", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Qwen2,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Pre,
        qk_norm: None,
        // Of the four projections, the output alone is without a bias.
        qkv_bias: Bias::With,
        out_bias: Bias::Without,
        feed_forward_bias: Bias::Without,
        head,
        layers: spans.into_iter().map(|span| (span, Some(rotary.clone()))).collect(),
    };
    gated.describe()
}

/// The kind of attention of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A window of the nearest keys: `sliding_attention`.
    SlidingAttention,
    /// The layer attends to all earlier keys: `full_attention`, or `attention` in older files.
    #[serde(alias = "attention")]
    FullAttention,
}

/// Takes the keys that give each layer its span, of Qwen2 and Qwen3: `layer_types`, or the older `max_window_layers`, the
/// number of layers with full attention before those with a window. There is a window only if `use_sliding_window` is set.
pub(super) fn spans(keys: &mut Keys, n_layers: usize) -> Vec<Span> {
    let use_sliding_window = keys.or("use_sliding_window", false);
    keys.default_to("sliding_window", 4096);
    let sliding_window = keys.optional_length("sliding_window");
    let max_window_layers = keys.or("max_window_layers", 28_usize);
    let layer_types = layer_types(keys, n_layers).unwrap_or_else(|| {
        let kind =
            |layer: usize| match use_sliding_window && sliding_window.is_some() && layer >= max_window_layers
            {
                true => Kind::SlidingAttention,
                false => Kind::FullAttention,
            };
        (0..n_layers).map(kind).collect()
    });
    if !use_sliding_window && layer_types.contains(&Kind::SlidingAttention) {
        keys.bad("use_sliding_window", &false, "true: `layer_types` has sliding layers");
    }
    spans_of(keys, &layer_types, sliding_window)
}

/// Takes `layer_types` and checks that it has one kind a layer.
pub(super) fn layer_types(keys: &mut Keys, n_layers: usize) -> Option<Vec<Kind>> {
    unused_mlp_layer_types(keys, ("num_hidden_layers", n_layers));
    let kinds = keys.optional::<Vec<Kind>>("layer_types")?;
    one_a_layer(keys, "layer_types", &kinds, ("num_hidden_layers", n_layers));
    Some(kinds)
}

/// The spans of layers of these kinds.
pub(super) fn spans_of(keys: &Keys, kinds: &[Kind], window: Option<usize>) -> Vec<Span> {
    // transformers cannot make the mask of such a layer.
    if window.is_none() && kinds.contains(&Kind::SlidingAttention) {
        let expected = "a number of keys: there are layers with a window";
        keys.bad("sliding_window", &Value::Null, expected);
    }
    let span = |kind: &Kind| match (kind, window) {
        (Kind::SlidingAttention, Some(window)) => Span::Window(window),
        (Kind::SlidingAttention, None) | (Kind::FullAttention, _) => Span::Full,
    };
    kinds.iter().map(span).collect()
}
