//! SmolLM3.

use super::{
    Description, Family,
    gated::{Gated, Sizes},
    keys::Keys,
    qwen2::{Kind, layer_types, spans_of},
    rotary,
    settings::{activation, bias, epsilon, head, heads},
};
use crate::config::{Residual, Span};

const WITHOUT_INFLUENCE: &[&str] = &["attention_dropout"];

/// # Source
///
/// Hugging Face transformers 5.23, `modeling_smollm3.py` and `configuration_smollm3.py`.
pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    // A missing key has a default, and null means as many as there are query heads.
    keys.default_to("num_key_value_heads", 4);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(32_768);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    let attention_bias = bias(&mut keys, "attention_bias");
    let mlp_bias = bias(&mut keys, "mlp_bias");
    let rotates = rotating_layers(&mut keys, sizes.num_hidden_layers);
    let spans = spans(&mut keys, &rotates);
    let head = head(&mut keys, true);
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 2_000_000.0);
    keys.finish("smollm3", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::SmolLm3,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Pre,
        qk_norm: None,
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        feed_forward_bias: mlp_bias,
        head,
        layers: spans
            .into_iter()
            .zip(rotates)
            .map(|(span, rotates)| (span, rotates.then(|| rotary.clone())))
            .collect(),
    };
    gated.describe()
}

/// Takes `no_rope_layers`, which has a 1 for each layer that rotates, or the period of the layers that do not.
fn rotating_layers(keys: &mut Keys, n_layers: usize) -> Vec<bool> {
    let interval = keys.optional_size("no_rope_layer_interval").unwrap_or(4);
    let by_interval = || (0..n_layers).map(|layer| !(layer + 1).is_multiple_of(interval)).collect();
    match keys.optional::<Vec<u32>>("no_rope_layers") {
        None => by_interval(),
        Some(flags) if flags.len() >= n_layers => flags[..n_layers].iter().map(|&flag| flag != 0).collect(),
        Some(flags) => {
            let expected = format!("a flag for each of the {n_layers} layers");
            keys.misfit("no_rope_layers", &flags, &expected, &["num_hidden_layers"]);
            by_interval()
        }
    }
}

/// Takes the keys that give each layer its span. By default only layers that do not rotate have a window.
fn spans(keys: &mut Keys, rotates: &[bool]) -> Vec<Span> {
    let use_sliding_window = keys.or("use_sliding_window", false);
    let sliding_window = keys.optional_length("sliding_window");
    let windowed = use_sliding_window && sliding_window.is_some();
    let kinds = layer_types(keys, rotates.len()).unwrap_or_else(|| {
        let kind = |&rotates: &bool| match windowed && !rotates {
            true => Kind::SlidingAttention,
            false => Kind::FullAttention,
        };
        rotates.iter().map(kind).collect()
    });
    spans_of(keys, &kinds, sliding_window)
}
