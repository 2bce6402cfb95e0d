//! Mistral 7B.

use super::{
    Description, Family,
    gated::{Gated, Sizes},
    keys::Keys,
    rotary::{self, Rotating, Surroundings},
    settings::{activation, epsilon, head, heads, uniform_span, unused_layer_types},
};
use crate::config::{Bias, Residual};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    // Compared with keys that other families have.
    "num_heads",
];

pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    // The only family with a default for the grouped heads.
    keys.default_to("num_key_value_heads", 8);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(131_072);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-6);
    let span = uniform_span(&mut keys, Some(4096));
    let head = head(&mut keys, false);
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        original_len: None,
        default_base: 10_000.0,
        rotating: Rotating::All,
    };
    let rotary = rotary::take(&mut keys, &surroundings);
    unused_layer_types(&mut keys, ("num_hidden_layers", sizes.num_hidden_layers));
    keys.finish("mistral", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Mistral,
        sizes,
        heads,
        activation,
        eps,
        residual: Residual::Pre,
        qk_norm: None,
        qkv_bias: Bias::Without,
        out_bias: Bias::Without,
        feed_forward_bias: Bias::Without,
        head,
        layers: vec![(span, Some(rotary)); sizes.num_hidden_layers],
    };
    gated.describe()
}
