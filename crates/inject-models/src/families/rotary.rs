//! Rotary settings, in the two spellings that config files use.
//!
//! An empty object counts as absent. Both spellings side by side are read if they mean the same.
//!
//! The older spelling has `rope_theta`, `rope_scaling` and `partial_rotary_factor` side by side, the newer one puts all of
//! them into `rope_parameters`. If a value stands in both places, the inner one counts, as in Hugging Face transformers
//! 5.23, `modeling_rope_utils.py` (`standardize_rope_params`).

use super::keys::Keys;
use crate::{
    config::{RotaryConfig, RotaryScaling},
    error::ModelError,
};

/// The settings of a model that its rotary settings depend on.
pub(super) struct Surroundings {
    pub(super) d_head: usize,
    /// The longest sequence that the model was made for, `max_position_embeddings`.
    pub(super) max_len: usize,
    /// `original_max_position_embeddings`, in a family that keeps it outside the rotary settings.
    pub(super) original_len: Option<usize>,
    /// The base if the config names none.
    pub(super) default_base: f64,
}

/// Takes all rotary keys of a family with one kind of rotary layer.
pub(super) fn take(keys: &mut Keys, surroundings: &Surroundings) -> Result<RotaryConfig, ModelError> {
    let outer_base = keys.optional::<f64>("rope_theta")?;
    let outer_partial = keys.optional::<f64>("partial_rotary_factor")?;
    let read = |inner: Keys| parse(inner, outer_base, outer_partial, surroundings);
    match (keys.nested("rope_scaling")?, keys.nested("rope_parameters")?) {
        (Some(older), Some(newer)) => both(keys, older, newer, read),
        (older, newer) => read(older.or(newer).unwrap_or_else(|| keys.empty("rope_parameters"))),
    }
}

/// Reads the same settings from both spellings. transformers reads the older one alone.
pub(super) fn both(
    keys: &Keys,
    mut older: Keys,
    mut newer: Keys,
    read: impl Fn(Keys) -> Result<RotaryConfig, ModelError>,
) -> Result<RotaryConfig, ModelError> {
    older.alias("type", "rope_type")?;
    newer.alias("type", "rope_type")?;
    older.agree(&newer)?;
    let texts = (older.value(), newer.value());
    let (older, newer) = (read(older)?, read(newer)?);
    if older == newer || keys.is_excused_within("rope_scaling") {
        Ok(older)
    } else {
        Err(keys.contradiction("rope_scaling", &texts.0, "rope_parameters", &texts.1))
    }
}

/// Reads one object of rotary settings, of either spelling.
pub(super) fn parse(
    mut keys: Keys,
    outer_base: Option<f64>,
    outer_partial: Option<f64>,
    surroundings: &Surroundings,
) -> Result<RotaryConfig, ModelError> {
    // transformers reads the older `type` only if there is no `rope_type`. Some Phi-3 files have both, with an old name
    // for the same kind, so a difference is judged by the meaning.
    let older_kind = keys.optional::<String>("type")?;
    let newer_kind = keys.optional::<String>("rope_type")?;
    let kind_of = |name: &str| {
        match name {
            "su" => "longrope",
            // Only Phi-3 keeps this length outside the rotary settings, and its first configs call longrope `yarn` too.
            "yarn" if surroundings.original_len.is_some() => "longrope",
            other => other,
        }
        .to_owned()
    };
    let kinds = (older_kind.as_deref().map(kind_of), newer_kind.as_deref().map(kind_of));
    let kind = match kinds {
        (Some(older), Some(newer)) if older != newer => {
            return Err(keys.contradiction("type", &older.into(), &keys.full("rope_type"), &newer.into()));
        }
        (older, newer) => newer.or(older).unwrap_or_else(|| "default".to_owned()),
    };
    let base = keys.optional::<f64>("rope_theta")?.or(outer_base).unwrap_or(surroundings.default_base);
    let partial = keys.optional::<f64>("partial_rotary_factor")?.or(outer_partial);
    let scaling = match kind.as_str() {
        "default" => {
            keys.optional::<f64>("factor")?.filter(|&factor| factor != 1.0).map_or(Ok(()), |factor| {
                Err(keys.misfit("factor", &factor, "no factor beside rope_type `default`"))
            })?;
            RotaryScaling::None
        }
        "linear" => RotaryScaling::Linear { factor: positive(&mut keys, "factor")? },
        "llama3" => llama3(&mut keys, surroundings)?,
        "longrope" => long_rope(&mut keys, surroundings)?,
        _ => return Err(keys.bad("rope_type", &kind, "`default`, `linear`, `llama3` or `longrope`")),
    };
    if !(base.is_finite() && base > 0.0) {
        return Err(keys.bad("rope_theta", &base, "a positive number"));
    }
    // The product is truncated, not rounded, as in the reference.
    let rotary_dim = (surroundings.d_head as f64 * partial.unwrap_or(1.0)) as usize;
    if rotary_dim == 0 || rotary_dim > surroundings.d_head || !rotary_dim.is_multiple_of(2) {
        let expected = format!(
            "a share of the {} coordinates of a head that is an even number from 2 on; this one is {rotary_dim}",
            surroundings.d_head
        );
        return Err(keys.misfit("partial_rotary_factor", &partial.unwrap_or(1.0), &expected));
    }
    if let RotaryScaling::LongRope { short_factor, long_factor, .. } = &scaling {
        for (key, factors) in [("short_factor", short_factor), ("long_factor", long_factor)] {
            if factors.len() != rotary_dim / 2 {
                return Err(keys.misfit(key, factors, &format!("{} factors", rotary_dim / 2)));
            }
        }
    }
    // transformers writes this key beside every kind of scaling. Only the kinds above that name it use it.
    keys.finish("rotary", &["original_max_position_embeddings"])?;
    Ok(RotaryConfig { rotary_dim, base, scaling })
}

fn llama3(keys: &mut Keys, surroundings: &Surroundings) -> Result<RotaryScaling, ModelError> {
    let factor = positive(keys, "factor")?;
    let low_freq_factor = positive(keys, "low_freq_factor")?;
    let high_freq_factor = positive(keys, "high_freq_factor")?;
    let original_len = original_len(keys, surroundings)? as f64;
    // The ramp between the two is divided by its length.
    if high_freq_factor <= low_freq_factor {
        let expected = format!("more than the low_freq_factor {low_freq_factor}");
        return Err(keys.bad("high_freq_factor", &high_freq_factor, &expected));
    }
    Ok(RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len })
}

fn long_rope(keys: &mut Keys, surroundings: &Surroundings) -> Result<RotaryScaling, ModelError> {
    let original_len = original_len(keys, surroundings)?;
    let short_factor = keys.required::<Vec<f64>>("short_factor")?;
    let long_factor = keys.required::<Vec<f64>>("long_factor")?;
    let stretch = match keys.optional::<f64>("factor")? {
        Some(factor) => factor,
        None => surroundings.max_len as f64 / original_len as f64,
    };
    let attention_factor = match keys.optional::<f64>("attention_factor")? {
        Some(factor) => factor,
        None if stretch <= 1.0 => 1.0,
        None => (1.0 + stretch.ln() / (original_len as f64).ln()).sqrt(),
    };
    for (key, factors) in [("short_factor", &short_factor), ("long_factor", &long_factor)] {
        if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
            return Err(keys.bad(key, factors, "positive numbers"));
        }
    }
    if !(attention_factor.is_finite() && attention_factor > 0.0) {
        return Err(keys.bad("attention_factor", &attention_factor, "a positive number"));
    }
    Ok(RotaryScaling::LongRope { short_factor, long_factor, original_len, attention_factor })
}

fn original_len(keys: &mut Keys, surroundings: &Surroundings) -> Result<usize, ModelError> {
    let inner = keys.optional_size("original_max_position_embeddings")?;
    Ok(surroundings.original_len.or(inner).unwrap_or(surroundings.max_len))
}

fn positive(keys: &mut Keys, key: &str) -> Result<f64, ModelError> {
    let found = keys.required::<f64>(key)?;
    if found.is_finite() && found > 0.0 { Ok(found) } else { Err(keys.bad(key, &found, "a positive number")) }
}
