//! The correction of Mistral's cuts that the settings of a tokenizer ask for.

use serde_json::{Value, json};
use tokenizers::{PreTokenizerWrapper, Tokenizer};

use super::{beside::Beside, cuts::TEKKEN};

/// Vocabularies of this size or less are not corrected.
const LARGEST_OTHER: usize = 100_000;

/// The values of `model_type` whose tokenizers are corrected.
const MODELS: [&str; 5] = ["mistral", "mistral3", "voxtral", "ministral", "pixtral"];

/// Puts Mistral's cuts in place of those of the file, if `fix_mistral_regex` in `tokenizer_config.json` asks for it and transformers
/// heeds it: beside the `config.json` of a Mistral model that a version before 5 wrote.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_tokenizers.py` (`_patch_mistral_regex`), for a folder.
pub(super) fn correct(tokenizer: &mut Tokenizer, beside: &Beside) -> tokenizers::Result<()> {
    let model = beside.model_type.as_deref();
    let applies = beside.flag("fix_mistral_regex") == Some(true)
        && beside.has_config
        && model.is_none_or(|model| MODELS.contains(&model))
        && beside.transformers_version.as_deref().is_none_or(is_before_5)
        && tokenizer.get_vocab_size(true) > LARGEST_OTHER;
    let Some(cuts) = tokenizer.get_pre_tokenizer().filter(|_| applies) else { return Ok(()) };
    let mut cuts = serde_json::to_value(cuts)?;
    let split = json!({
        "type": "Split", "pattern": { "Regex": TEKKEN }, "behavior": "Isolated", "invert": false,
    });
    let corrected = match cuts.get_mut("pretokenizers").and_then(Value::as_array_mut) {
        Some(parts) => {
            if let Some(first) = parts.first_mut() {
                *first = split;
            }
            cuts
        }
        None => {
            let rest = match cuts["type"] == "Metaspace" {
                true => {
                    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false })
                }
                false => cuts,
            };
            json!({ "type": "Sequence", "pretokenizers": [split, rest] })
        }
    };
    tokenizer.with_pre_tokenizer(Some(serde_json::from_value::<PreTokenizerWrapper>(corrected)?));
    Ok(())
}

/// Whether a version, such as `4.57.3` or `5.0.0rc1`, comes before 5.0.0.
fn is_before_5(version: &str) -> bool {
    let digits =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>();
    let is_candidate = version
        .strip_prefix("5.0.0")
        .is_some_and(|rest| ["rc", ".dev", "a", "b"].iter().any(|end| rest.starts_with(end)));
    digits(version).is_ok_and(|major| major < 5) || is_candidate
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The tokens of a text that a vocabulary of so many tokens has whole and sign by sign.
    fn tokens(size: usize, cuts: &Value, settings: &Value, config: Option<Value>) -> Vec<String> {
        let mut vocabulary: serde_json::Map<String, Value> =
            (0..size - 4).map(|id| (format!("unused {id}"), json!(id))).collect();
        for (place, token) in ["1", "2", "12", "unk"].iter().enumerate() {
            vocabulary.insert((*token).to_owned(), json!(size - 4 + place));
        }
        let text = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "post_processor": null,
            "decoder": null, "pre_tokenizer": cuts, "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "unk" },
        });
        let mut tokenizer = Tokenizer::from_bytes(text.to_string()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        if let Some(config) = config {
            fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        }
        let beside = Beside::read(&folder.path().join("tokenizer.json")).unwrap();
        correct(&mut tokenizer, &beside).unwrap();
        tokenizer.encode("12", false).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn cuts_are_corrected_where_transformers_does() {
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let asks = json!({ "fix_mistral_regex": true });
        let config =
            |model: &str, version: &str| json!({ "model_type": model, "transformers_version": version });
        let (size, old) = (LARGEST_OTHER + 1, config("mistral", "4.57.3"));
        for (size, settings, config, corrected) in [
            (size, &asks, Some(old.clone()), true),
            (size, &asks, Some(json!({})), true),
            (size, &asks, Some(config("mistral3", "5.0.0rc1")), true),
            (size, &asks, None, false),
            (size, &asks, Some(config("mistral", "5.0.0")), false),
            (size, &asks, Some(config("llama", "4.57.3")), false),
            (size, &json!({ "fix_mistral_regex": false }), Some(old.clone()), false),
            (size, &json!({}), Some(old.clone()), false),
            (LARGEST_OTHER, &asks, Some(old.clone()), false),
        ] {
            let expected: &[&str] = if corrected { &["1", "2"] } else { &["12"] };
            assert_eq!(
                tokens(size, &byte_level, settings, config.clone()),
                expected,
                "{settings}, {config:?}"
            );
        }
        // The first part of a sequence is replaced, and other cuts follow Mistral's.
        let whole =
            json!({ "type": "Split", "pattern": { "Regex": ".*" }, "behavior": "Isolated", "invert": false });
        let sequence = json!({ "type": "Sequence", "pretokenizers": [whole, byte_level] });
        let metaspace =
            json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false });
        for cuts in [sequence, metaspace] {
            assert_eq!(tokens(size, &cuts, &asks, Some(old.clone())), ["1", "2"], "{cuts}");
            assert_eq!(tokens(size, &cuts, &json!({}), Some(old.clone())), ["12"], "{cuts}");
        }
    }
}
