//! Keys that announce a computation that no family has.
//!
//! transformers' own classes read few of them. A checkpoint that has one was made by code of its own, whose states
//! would be others, so it is refused all the same.

use serde_json::{Value, json};

use super::keys::same;

/// A key, the value that announces nothing, and the meaning of the others.
struct Announcement {
    key: &'static str,
    neutral: Value,
    meaning: &'static str,
}

/// The effect of a key on the computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// The key is not on the list.
    Unknown,
    /// Its value asks for nothing.
    Nothing,
    /// Its value asks for a computation that no family has. The text says what was expected, and why.
    Refused(String),
}

/// Classifies a key that a family does not read: unknown, harmless, or a computation that no family has.
pub(super) fn announced(key: &str, value: &Value) -> Announced {
    let Some(announcement) = announcements().into_iter().find(|announcement| announcement.key == key) else {
        return Announced::Unknown;
    };
    let Announcement { neutral, meaning, .. } = announcement;
    // transformers takes null for false where it asks for one of these.
    let is_neutral = if value.is_null() { neutral != json!(true) } else { same(value, &neutral) };
    if is_neutral {
        Announced::Nothing
    } else {
        Announced::Refused(format!("{neutral}: other values mean {meaning}, which no family has"))
    }
}

fn announcements() -> Vec<Announcement> {
    let of = |key, neutral, meaning| Announcement { key, neutral, meaning };
    vec![
        of("rope_interleaved", json!(false), "a rotation of neighbouring coordinates"),
        of("embedding_multiplier", json!(1), "a factor on the embeddings"),
        of("residual_multiplier", json!(1), "a factor on each branch of a block"),
        of("attention_multiplier", json!(1), "another scale of the attention scores"),
        of("logits_scaling", json!(1), "a factor on the logits"),
        of("logit_scale", json!(1), "a factor on the logits"),
        of("scale_emb", json!(1), "a factor on the embeddings"),
        of("scale_depth", json!(null), "a factor on each branch of a block"),
        of("use_bidirectional_attention", json!(false), "attention to later tokens"),
        of("is_causal", json!(true), "attention to later tokens"),
        of("is_encoder_decoder", json!(false), "an encoder beside the decoder"),
        of("add_cross_attention", json!(false), "attention to an encoder"),
        of("per_layer_config", json!({}), "layers of different shapes"),
        of("pruned_heads", json!({}), "layers with fewer heads"),
        of("mrope_section", json!([]), "rotary positions of several axes"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_values_are_refused() {
        assert_eq!(announced("residual_multiplier", &json!(1.0)), Announced::Nothing);
        assert_eq!(announced("pruned_heads", &json!({})), Announced::Nothing);
        assert_eq!(announced("use_bidirectional_attention", &json!(null)), Announced::Nothing);
        assert_eq!(announced("anything", &json!(0.22)), Announced::Unknown);
        let refused = "1: other values mean a factor on each branch of a block, which no family has";
        let expected = Announced::Refused(refused.to_owned());
        assert_eq!(announced("residual_multiplier", &json!(0.22)), expected);
        assert!(matches!(announced("is_causal", &json!(null)), Announced::Refused(_)));
    }
}
