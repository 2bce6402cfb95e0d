//! Phi-3 and Phi-4-mini.

use super::{
    Description, Family, Names, Projection, Stored,
    gated::{Gated, Sizes},
    keys::Keys,
    llama,
    rotary::{self, Rotating, Surroundings},
    settings::{activation, epsilon, head, heads, positive, uniform_span, unused_layer_types},
};
use crate::config::{Bias, Residual};

pub(super) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    qkv: Projection { parts: &["self_attn.qkv_proj"], stored: Stored::OutIn },
    up: Projection { parts: &["mlp.gate_up_proj"], stored: Stored::OutIn },
    ..llama::NAMES
};

const WITHOUT_INFLUENCE: &[&str] = &[
    "attention_dropout",
    "embd_pdrop",
    // Phi-4-mini's file has settings of its remote code. The computation is that of Phi-3.
    "full_attn_mod",
    "interpolate_factor",
    "resid_pdrop",
    // A parameter of the method that reads the rotary keys.
    "ignore_keys",
];

pub(super) fn describe(mut keys: Keys) -> Description {
    let sizes = Sizes::take(&mut keys);
    let heads = heads(&mut keys, sizes.hidden_size);
    let activation = activation(&mut keys, "hidden_act", "silu");
    let max_position_embeddings = keys.optional_length("max_position_embeddings").unwrap_or(4096);
    let original_max_position_embeddings =
        keys.optional_length("original_max_position_embeddings").unwrap_or(4096);
    let eps = epsilon(&mut keys, "rms_norm_eps", 1e-5);
    let span = uniform_span(&mut keys, None);
    let head = head(&mut keys, false);
    // Present in Phi-4-mini's file, and false there. The class has no biases, whatever they are.
    for key in ["attention_bias", "mlp_bias", "lm_head_bias"] {
        keys.overrule(key, false);
        keys.only(key, false);
    }
    let surroundings = Surroundings {
        d_head: heads.d_head,
        max_len: max_position_embeddings,
        // This key lies outside the rotary settings. It and its default override the value within them.
        original_len: Some(original_max_position_embeddings),
        // A parameter of the method that reads the rotary keys, which passes all others to it.
        default_base: positive(&mut keys, "default_theta", 10_000.0),
        rotating: Rotating::Share { by_default: 1.0 },
    };
    let rotary = rotary::take(&mut keys, &surroundings);
    unused_layer_types(&mut keys, ("num_hidden_layers", sizes.num_hidden_layers));
    keys.finish("phi3", WITHOUT_INFLUENCE);

    let gated = Gated {
        family: Family::Phi3,
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
