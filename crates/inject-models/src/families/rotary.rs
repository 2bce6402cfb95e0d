//! Rotary settings, in the two spellings that config files use.
//!
//! An empty object counts as absent. Both spellings side by side are read if they mean the same.
//!
//! The older spelling has `rope_theta`, `rope_scaling` and `partial_rotary_factor` side by side, the newer one puts all of
//! them into `rope_parameters`. If a value is in both places, the inner one counts, but for
//! `original_max_position_embeddings`, of which the outer one does: as in Hugging Face transformers 5.24,
//! `modeling_rope_utils.py` (`standardize_rope_params`).

use serde_json::Value;

use super::{
    keys::Keys,
    settings::{WIDTH_OF_HEADS, optional_positive, required_positive},
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

impl Surroundings {
    /// Those of a family that rotates all coordinates of a head, and knows no other length than `max_len`.
    pub(super) fn of_whole_heads(d_head: usize, max_len: usize, default_base: f64) -> Self {
        Surroundings { d_head, max_len, original_len: None, default_base, rotating: Rotating::All }
    }
}

/// The coordinates of a head that a family rotates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rotating {
    /// All of them. transformers' class does not read `partial_rotary_factor`.
    All,
    /// The share that the config gives.
    Share { by_default: f64 },
}

/// The rotary settings that a config gives outside the object of rotary settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outside {
    pub(super) base: Option<f64>,
    pub(super) rotary_dim: Option<usize>,
    pub(super) original_len: Option<usize>,
}

/// Takes all rotary keys of a family with one kind of rotary layer.
pub(super) fn take(keys: &mut Keys, surroundings: &Surroundings) -> RotaryConfig {
    take_named(keys, surroundings, ["rope_theta", SHARE])
}

/// As [`take`], with [`Surroundings::of_whole_heads`].
pub(super) fn take_whole(keys: &mut Keys, d_head: usize, max_len: usize, default_base: f64) -> RotaryConfig {
    take(keys, &Surroundings::of_whole_heads(d_head, max_len, default_base))
}

/// As [`take`], for a family with names of its own for the base and for the share outside the object of rotary settings.
pub(super) fn take_named(
    keys: &mut Keys,
    surroundings: &Surroundings,
    [base, share]: [&str; 2],
) -> RotaryConfig {
    let outside = Outside {
        base: optional_positive(keys, base),
        rotary_dim: take_named_share(keys, share, surroundings),
        original_len: keys.optional_length("original_max_position_embeddings"),
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

/// Takes the share outside the object of rotary settings, and returns the number of coordinates that it means.
pub(super) fn take_share(keys: &mut Keys, surroundings: &Surroundings) -> Option<usize> {
    take_named_share(keys, SHARE, surroundings)
}

fn take_named_share(keys: &mut Keys, key: &str, surroundings: &Surroundings) -> Option<usize> {
    if surroundings.rotating == Rotating::All && !surroundings.d_head.is_multiple_of(2) {
        let expected = "an even number, hidden_size / num_attention_heads where it is missing: coordinates rotate in pairs";
        keys.misfit("head_dim", &surroundings.d_head, expected, &[WIDTH_OF_HEADS]);
        keys.follows(WIDTH_OF_HEADS, &["head_dim"]);
    }
    keys.optional(key).map(|found| rotary_dim(keys, key, found, surroundings))
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

/// Reads one object of rotary settings, of either spelling. A key that its kind does not read is noted.
pub(super) fn parse(mut keys: Keys, outside: Outside, surroundings: &Surroundings) -> RotaryConfig {
    let (kind, named_by) = kind(&mut keys, surroundings);
    let base = optional_positive(&mut keys, "rope_theta").or(outside.base);
    let share = keys.optional::<f64>(SHARE);
    let rotary_dim = share.map(|share| rotary_dim(&keys, SHARE, share, surroundings)).or(outside.rotary_dim);
    let rotary_dim = rotary_dim.unwrap_or_else(|| by_default(&keys, surroundings));
    let scaling = match kind.as_str() {
        "default" => RotaryScaling::None,
        "linear" => RotaryScaling::Linear { factor: required_positive(&mut keys, "factor") },
        "llama3" => llama3(&mut keys, outside, surroundings),
        "longrope" => long_rope(&mut keys, outside, surroundings, rotary_dim.div_ceil(2)),
        _ => {
            keys.bad(named_by, &kind, "`default`, `linear`, `llama3` or `longrope`");
            RotaryScaling::None
        }
    };
    // transformers writes this key beside every kind of scaling. Only the kinds above that name it use it.
    keys.finish("rotary", &["original_max_position_embeddings"]);
    RotaryConfig { rotary_dim, base: base.unwrap_or(surroundings.default_base), scaling }
}

/// The key that gives the share of the coordinates that rotate.
const SHARE: &str = "partial_rotary_factor";

/// The number of pairs of coordinates that rotate follows from these.
const NUMBER_OF_PAIRS: &[&str] = &[WIDTH_OF_HEADS, SHARE, "rotary_pct"];

/// Returns the number of coordinates that rotate if the config does not say.
fn by_default(keys: &Keys, surroundings: &Surroundings) -> usize {
    match surroundings.rotating {
        Rotating::All => surroundings.d_head,
        Rotating::Share { by_default } => rotary_dim(keys, SHARE, by_default, surroundings),
    }
}

/// Returns the number of coordinates that a share means, and checks that a head has them. `key` is the key that gives the share.
fn rotary_dim(keys: &Keys, key: &str, share: f64, surroundings: &Surroundings) -> usize {
    let d_head = width(keys, surroundings.d_head);
    let rotary_dim = coordinates(d_head, share);
    // Coordinates rotate in pairs, so an odd number is rounded up.
    let fits = (1..=d_head).contains(&rotary_dim) && rotary_dim.next_multiple_of(2) <= d_head;
    let is_part = surroundings.rotating == Rotating::All && rotary_dim < d_head;
    let expected = match (fits, keys.is_faulty(WIDTH_OF_HEADS)) {
        (true, _) if is_part => {
            "1: other values mean a rotation of a part of each head, which this family does not have"
                .to_owned()
        }
        (true, _) => return rotary_dim,
        (false, true) => "a share of the coordinates of a head that leaves room for pairs".to_owned(),
        (false, false) => format!(
            "a share of the {d_head} coordinates of a head that is at least 1 and leaves room for pairs; this one is {rotary_dim}"
        ),
    };
    keys.bad(key, &share, &expected);
    d_head
}

/// Returns the width of a head for judging shares. If it is unknown, it is the largest: a share that is wrong for that is wrong for
/// every width.
pub(super) fn width(keys: &Keys, d_head: usize) -> usize {
    if keys.is_faulty(WIDTH_OF_HEADS) { Keys::LARGEST } else { d_head }
}

/// Returns the number of coordinates that a share of a head means.
pub(super) fn coordinates(d_head: usize, share: f64) -> usize {
    // The product is truncated, not rounded, as in the reference.
    (d_head as f64 * share) as usize
}

/// Takes the kind of scaling. Returns it with the key that names it.
fn kind(keys: &mut Keys, surroundings: &Surroundings) -> (String, &'static str) {
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
    match (newer, older) {
        (Some(newer), _) => (newer, "rope_type"),
        (None, Some(older)) => (older, "type"),
        (None, None) => ("default".to_owned(), "rope_type"),
    }
}

fn llama3(keys: &mut Keys, outside: Outside, surroundings: &Surroundings) -> RotaryScaling {
    let original_len = original_len(keys, outside, surroundings) as f64;
    let factor = required_positive(keys, "factor");
    let low_freq_factor = required_positive(keys, "low_freq_factor");
    let high_freq_factor = required_positive(keys, "high_freq_factor");
    // The ramp between the two is divided by its length.
    if high_freq_factor <= low_freq_factor {
        let expected = format!("more than the low_freq_factor {low_freq_factor}");
        keys.misfit("high_freq_factor", &high_freq_factor, &expected, &["low_freq_factor"]);
    }
    RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len }
}

fn long_rope(keys: &mut Keys, outside: Outside, surroundings: &Surroundings, pairs: usize) -> RotaryScaling {
    let original_len = original_len(keys, outside, surroundings);
    let short_factor = factors(keys, "short_factor", pairs);
    let long_factor = factors(keys, "long_factor", pairs);
    let stretch = keys.optional::<f64>("factor");
    let stretch = stretch.unwrap_or(surroundings.max_len as f64 / original_len as f64);
    let attention_factor = match optional_positive(keys, "attention_factor") {
        Some(factor) => factor,
        None if stretch <= 1.0 => 1.0,
        None if original_len == 1 => {
            let lengths = ["max_position_embeddings", "factor"];
            keys.misfit("original_max_position_embeddings", &original_len, "more than 1", &lengths);
            1.0
        }
        None => (1.0 + stretch.ln() / (original_len as f64).ln()).sqrt(),
    };
    RotaryScaling::LongRope { short_factor, long_factor, original_len, attention_factor }
}

/// Takes the factors of the frequencies, one for each pair of coordinates that rotates.
fn factors(keys: &mut Keys, key: &str, pairs: usize) -> Vec<f64> {
    let factors = keys.required::<Vec<f64>>(key).unwrap_or_default();
    if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
        keys.bad(key, &factors, "positive numbers");
    }
    if factors.len() != pairs {
        keys.misfit(key, &factors, &format!("{pairs} factors"), NUMBER_OF_PAIRS);
    }
    factors
}

/// Takes the length before the frequencies were stretched. The number outside wins.
///
/// # Source
///
/// Hugging Face transformers 5.24, `modeling_rope_utils.py` (`standardize_rope_params`).
fn original_len(keys: &mut Keys, outside: Outside, surroundings: &Surroundings) -> usize {
    let inner = keys.optional_length("original_max_position_embeddings");
    surroundings.original_len.or(outside.original_len).or(inner).unwrap_or(surroundings.max_len)
}
