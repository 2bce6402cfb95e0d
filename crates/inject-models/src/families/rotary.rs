//! Rotary settings, in the two spellings that config files use.
//!
//! An empty object counts as absent. Both spellings side by side are read if they mean the same.
//!
//! The older spelling has `rope_theta`, `rope_scaling` and `partial_rotary_factor` side by side, the newer one puts all of
//! them into `rope_parameters`. If a value stands in both places, the inner one counts, but for
//! `original_max_position_embeddings`, of which the outer one does: as in Hugging Face transformers 5.24,
//! `modeling_rope_utils.py` (`standardize_rope_params`).

use serde_json::Value;

use super::{
    keys::Keys,
    settings::{WIDTH_OF_HEADS, required_positive},
};
use crate::config::{RotaryConfig, RotaryScaling};

/// The settings of a model that its rotary settings depend on.
pub(super) struct Surroundings {
    pub(super) d_head: usize,
    /// The longest sequence that the model was made for, `max_position_embeddings`.
    pub(super) max_len: usize,
    /// `original_max_position_embeddings`, in a family whose class has a field for it.
    pub(super) original_len: Option<usize>,
    /// The base if the config names none.
    pub(super) default_base: f64,
    pub(super) rotating: Rotating,
}

/// The coordinates of a head that a family rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotating {
    /// All of them. transformers' class does not read `partial_rotary_factor`.
    All,
    /// The share that `partial_rotary_factor` gives.
    Share,
}

/// The rotary settings that a config gives outside the object of rotary settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outside {
    pub(super) base: Option<f64>,
    pub(super) partial: Option<f64>,
    pub(super) original_len: Option<usize>,
}

/// Takes all rotary keys of a family with one kind of rotary layer.
pub(super) fn take(keys: &mut Keys, surroundings: &Surroundings) -> RotaryConfig {
    let outside = Outside {
        base: keys.optional("rope_theta"),
        partial: keys.optional("partial_rotary_factor"),
        original_len: keys.optional_size("original_max_position_embeddings"),
    };
    let read = |mut inner: Keys| {
        for layers in ["full_attention", "sliding_attention"] {
            if let Some(settings) = inner.optional::<Value>(layers) {
                inner.bad(
                    layers,
                    &settings,
                    "the same rotary settings for all layers, as the family has them",
                );
            }
        }
        parse(inner, outside, surroundings)
    };
    match (keys.nested("rope_scaling"), keys.nested("rope_parameters")) {
        (Some(older), Some(newer)) => both(keys, older, newer, read),
        (older, newer) => read(older.or(newer).unwrap_or_else(|| keys.empty("rope_parameters"))),
    }
}

/// Reads the same settings from both spellings. transformers reads the older one alone.
pub(super) fn both(
    keys: &Keys,
    mut older: Keys,
    mut newer: Keys,
    read: impl Fn(Keys) -> RotaryConfig,
) -> RotaryConfig {
    let findings = keys.findings();
    let before = findings.count();
    older.alias("type", "rope_type");
    newer.alias("type", "rope_type");
    older.agree(&newer);
    let texts = (older.value(), newer.value());
    let (older, newer) = (read(older), read(newer));
    // Where a problem is known, the difference may follow from it.
    if older != newer && findings.count() == before {
        keys.contradiction("rope_scaling", &texts.0, "rope_parameters", &texts.1);
    }
    older
}

/// Reads one object of rotary settings, of either spelling.
pub(super) fn parse(mut keys: Keys, outside: Outside, surroundings: &Surroundings) -> RotaryConfig {
    let kind = kind(&mut keys, surroundings);
    let base = keys.optional::<f64>("rope_theta").or(outside.base).unwrap_or(surroundings.default_base);
    if !(base.is_finite() && base > 0.0) {
        keys.bad("rope_theta", &base, "a positive number");
    }
    let partial = keys.optional::<f64>("partial_rotary_factor").or(outside.partial).unwrap_or(1.0);
    let rotary_dim = rotary_dim(&keys, partial, surroundings);
    let scaling = match kind.as_str() {
        "default" => {
            if let Some(factor) = keys.optional::<f64>("factor").filter(|&factor| factor != 1.0) {
                let expected = "no factor beside rope_type `default`";
                keys.misfit("factor", &factor, expected, &["rope_type", "type"]);
            }
            RotaryScaling::None
        }
        "linear" => RotaryScaling::Linear { factor: required_positive(&mut keys, "factor") },
        "llama3" => {
            let original_len = original_len(&mut keys, outside, surroundings);
            llama3(&mut keys, original_len)
        }
        "longrope" => {
            let original_len = original_len(&mut keys, outside, surroundings);
            long_rope(&mut keys, original_len, surroundings.max_len, rotary_dim.div_ceil(2))
        }
        _ => {
            keys.bad("rope_type", &kind, "`default`, `linear`, `llama3` or `longrope`");
            RotaryScaling::None
        }
    };
    // transformers writes this key beside every kind of scaling. Only the kinds above that name it use it.
    keys.finish("rotary", &["original_max_position_embeddings"]);
    RotaryConfig { rotary_dim, base, scaling }
}

/// The keys that give the share of the coordinates that rotate.
const OF_SHARE: &[&str] = &["partial_rotary_factor", "rotary_pct"];

/// Returns the number of coordinates that a share means, and checks that a head has them.
fn rotary_dim(keys: &Keys, partial: f64, surroundings: &Surroundings) -> usize {
    let d_head = surroundings.d_head;
    // The product is truncated, not rounded, as in the reference.
    let rotary_dim = (d_head as f64 * partial) as usize;
    // Coordinates rotate in pairs, so an odd number is rounded up.
    let expected = if rotary_dim == 0 || rotary_dim > d_head || rotary_dim.next_multiple_of(2) > d_head {
        format!(
            "a share of the {d_head} coordinates of a head that is at least 1 and leaves room for pairs; this one is {rotary_dim}"
        )
    } else if surroundings.rotating == Rotating::All && rotary_dim < d_head {
        "1: other values mean a rotation of a part of each head, which this family does not have".to_owned()
    } else {
        return rotary_dim;
    };
    keys.misfit("partial_rotary_factor", &partial, &expected, &[WIDTH_OF_HEADS, OF_SHARE].concat());
    d_head
}

/// Takes the kind of scaling.
fn kind(keys: &mut Keys, surroundings: &Surroundings) -> String {
    // transformers reads the older `type` only if there is no `rope_type`. Some Phi-3 files have both, with an old name
    // for the same kind, so a difference is judged by the meaning.
    let mut of = |key: &str| {
        keys.optional::<String>(key).map(|name| match name.as_str() {
            "su" => "longrope".to_owned(),
            // Only Phi-3 keeps this length outside the rotary settings, and its first configs call longrope `yarn` too.
            "yarn" if surroundings.original_len.is_some() => "longrope".to_owned(),
            _ => name,
        })
    };
    let (older, newer) = (of("type"), of("rope_type"));
    if let (Some(older), Some(newer)) = (&older, &newer)
        && older != newer
    {
        let other = keys.full("rope_type");
        keys.contradiction("type", &older.as_str().into(), &other, &newer.as_str().into());
    }
    newer.or(older).unwrap_or_else(|| "default".to_owned())
}

fn llama3(keys: &mut Keys, original_len: usize) -> RotaryScaling {
    let factor = required_positive(keys, "factor");
    let low_freq_factor = required_positive(keys, "low_freq_factor");
    let high_freq_factor = required_positive(keys, "high_freq_factor");
    let original_len = original_len as f64;
    // The ramp between the two is divided by its length.
    if high_freq_factor <= low_freq_factor {
        let expected = format!("more than the low_freq_factor {low_freq_factor}");
        keys.misfit("high_freq_factor", &high_freq_factor, &expected, &["low_freq_factor"]);
    }
    RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len }
}

fn long_rope(keys: &mut Keys, original_len: usize, max_len: usize, pairs: usize) -> RotaryScaling {
    let short_factor = factors(keys, "short_factor", pairs);
    let long_factor = factors(keys, "long_factor", pairs);
    let stretch = keys.optional::<f64>("factor");
    let stretch = stretch.unwrap_or(max_len as f64 / original_len as f64);
    let attention_factor = match keys.optional::<f64>("attention_factor") {
        Some(factor) => factor,
        None if stretch <= 1.0 => 1.0,
        None => (1.0 + stretch.ln() / (original_len as f64).ln()).sqrt(),
    };
    if !(attention_factor.is_finite() && attention_factor > 0.0) {
        let lengths = ["original_max_position_embeddings", "max_position_embeddings", "factor"];
        keys.misfit("attention_factor", &attention_factor, "a positive number", &lengths);
    }
    RotaryScaling::LongRope { short_factor, long_factor, original_len, attention_factor }
}

/// Takes the factors of the frequencies, one for each pair of coordinates that rotates.
fn factors(keys: &mut Keys, key: &str, pairs: usize) -> Vec<f64> {
    let factors = keys.required::<Vec<f64>>(key).unwrap_or_default();
    if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
        keys.bad(key, &factors, "positive numbers");
    }
    if factors.len() != pairs {
        keys.misfit(key, &factors, &format!("{pairs} factors"), &[WIDTH_OF_HEADS, OF_SHARE].concat());
    }
    factors
}

/// Takes the length before the frequencies were stretched. The number outside wins.
///
/// # Source
///
/// Hugging Face transformers 5.24, `modeling_rope_utils.py` (`standardize_rope_params`).
fn original_len(keys: &mut Keys, outside: Outside, surroundings: &Surroundings) -> usize {
    let inner = keys.optional_size("original_max_position_embeddings");
    surroundings.original_len.or(outside.original_len).or(inner).unwrap_or(surroundings.max_len)
}
