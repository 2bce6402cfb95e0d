//! The places where byte-level BPE cuts a text before it merges.

use serde_json::{Value as Json, json};

/// The way in which a text is cut.
pub(crate) enum Cuts {
    /// The expression of GPT-2, after a normalisation if the model has one.
    Gpt2 { normal: Option<&'static str> },
    /// Each digit by itself, and then the expression of GPT-2.
    DigitsThenGpt2,
    /// Another expression, after a normalisation if the model has one.
    Expression { normal: Option<&'static str>, expression: &'static str },
}

impl Cuts {
    /// Returns the normaliser and the pre-tokeniser, as `tokenizer.json` describes them. With `first_space`, a text begins with a
    /// space if it does not have one.
    pub(crate) fn describe(&self, first_space: bool) -> (Option<Json>, Json) {
        let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": first_space, "trim_offsets": true, "use_regex": use_regex });
        let both =
            |first: Json, second: Json| json!({ "type": "Sequence", "pretokenizers": [first, second] });
        let normalizer = |normal: &Option<&str>| normal.map(|normal| json!({ "type": normal }));
        match self {
            Cuts::Gpt2 { normal } => (normalizer(normal), bytes(true)),
            Cuts::DigitsThenGpt2 => {
                (None, both(json!({ "type": "Digits", "individual_digits": true }), bytes(true)))
            }
            Cuts::Expression { normal, expression } => {
                let split = json!({
                    "type": "Split",
                    "pattern": { "Regex": expression },
                    "behavior": "Isolated",
                    "invert": false,
                });
                (normalizer(normal), both(split, bytes(false)))
            }
        }
    }
}

// The expressions of the models, from their `tokenizer.json`.

pub(crate) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
