//! Mistral 7B and Ministral.

use super::{
    Description, Family,
    gated::{Gated, Sizes},
    keys::Keys,
    qwen2::{layer_types, spans_of},
    rotary,
    settings::{activation, epsilon, head, heads, uniform_span},
};
use crate::config::{Bias, Residual, Span};

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
    let rotary = rotary::take_whole(&mut keys, heads.d_head, max_position_embeddings, 10_000.0);
    // transformers takes a model with kinds of layers for Ministral (`configuration_auto.py`), in which they count.
    let kinds = if keys.has("layer_types") { layer_types(&mut keys, sizes.num_hidden_layers) } else { None };
    let spans = match (kinds, span) {
        (Some(kinds), Span::Window(window)) => spans_of(&keys, &kinds, Some(window)),
        (Some(kinds), _) => spans_of(&keys, &kinds, None),
        (None, span) => vec![span; sizes.num_hidden_layers],
    };
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
        layers: spans.into_iter().map(|span| (span, Some(rotary.clone()))).collect(),
    };
    gated.describe()
}

#[cfg(test)]
mod tests {
    use crate::{DecoderConfig, config::Span};

    #[test]
    fn kinds_of_layers_count_as_in_ministral() {
        let spans = |rest: &str| {
            let text = format!(
                r#"{{ "model_type": "mistral", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "vocab_size": 50, "sliding_window": 4 {rest} }}"#
            );
            let config = DecoderConfig::parse(&text).unwrap();
            config.blocks.iter().map(|block| block.attention.span).collect::<Vec<_>>()
        };
        assert_eq!(spans(""), [Span::Window(4); 2]);
        let kinds = r#", "layer_types": ["full_attention", "sliding_attention"]"#;
        assert_eq!(spans(kinds), [Span::Full, Span::Window(4)]);
    }
}
