//! The family of a config file: by its `model_type`, or in older files by its classes or keys.

use serde_json::{Map, Value};

use super::Family;
use crate::note::Evidence;

/// The beginnings of the names of transformers' classes, each with the `model_type` of its config.
const CLASSES: &[(&str, &str)] = &[
    ("GPT2", "gpt2"),
    ("GPTNeo", "gpt_neo"),
    ("GPTNeoX", "gpt_neox"),
    ("Llama", "llama"),
    ("Mistral", "mistral"),
    ("Gemma2", "gemma2"),
    ("Gemma3", "gemma3"),
    ("Phi3", "phi3"),
    ("Qwen2", "qwen2"),
    ("Qwen3", "qwen3"),
    ("SmolLM3", "smollm3"),
    ("Olmo2", "olmo2"),
];

/// The ends of the names of transformers' classes.
const KINDS: &[&str] = &[
    "Model",
    "ForCausalLM",
    "LMHeadModel",
    "DoubleHeadsModel",
    "TextModel",
    "ForConditionalGeneration",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "TextForSequenceClassification",
];

/// Returns the `model_type` of the config that belongs to a class of transformers.
pub(super) fn model_type_of_class(class: &str) -> Option<&'static str> {
    let fits = |prefix: &str| class.strip_prefix(prefix).is_some_and(|kind| KINDS.contains(&kind));
    let (_, model_type) = CLASSES.iter().find(|(prefix, _)| fits(prefix))?;
    // The text part of Gemma 3 has a config of its own.
    let text_only = ["Gemma3ForCausalLM", "Gemma3TextModel"].contains(&class);
    Some(if text_only { "gemma3_text" } else { model_type })
}

/// Returns the `model_type` of the class whose name ends this one, as in `MyLlamaForCausalLM`.
pub(super) fn model_type_named_in(class: &str) -> Option<&'static str> {
    class.char_indices().find_map(|(place, _)| model_type_of_class(&class[place..]))
}

/// Returns the names of classes in `architectures`.
pub(super) fn classes(config: &Map<String, Value>) -> impl Iterator<Item = &str> {
    config.get("architectures").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Returns the `model_type` of a file that names none, if the file leaves no doubt.
pub(super) fn guess(config: &Map<String, Value>) -> Option<(&'static str, Evidence)> {
    for class in classes(config) {
        if let Some(model_type) = model_type_of_class(class) {
            return Some((model_type, Evidence::Architecture(class.to_owned())));
        }
    }
    let all = |keys: &[&str]| keys.iter().all(|key| config.contains_key(*key));
    let none = |keys: &[&str]| keys.iter().all(|key| !config.contains_key(*key));
    if classes(config).next().is_some() {
        return None;
    }
    // GPT, CTRL, GPT-J and GPT BigCode have these keys and one of the others.
    let gpt2 = all(&["n_embd", "n_head", "n_layer", "layer_norm_epsilon"])
        && none(&["afn", "dff", "rotary_dim", "rotary", "multi_query", "alibi"]);
    if gpt2 {
        Some(("gpt2", Evidence::Keys))
    } else if all(&["attention_types", "num_heads", "num_layers", "window_size"]) {
        Some(("gpt_neo", Evidence::Keys))
    } else {
        None
    }
}

/// Returns keys of which every file of a family has one. Most models of other kinds have none of them.
pub(super) fn own_keys(family: Family) -> &'static [&'static str] {
    match family {
        Family::Gpt2 => &["n_embd"],
        Family::GptNeo => &["attention_types"],
        Family::GptNeoX => &["use_parallel_residual", "rotary_pct"],
        Family::Llama
        | Family::Mistral
        | Family::Gemma3
        | Family::Phi3
        | Family::Qwen2
        | Family::Qwen3
        | Family::Gemma2
        | Family::SmolLm3
        | Family::Olmo2 => &["rms_norm_eps"],
    }
}

/// Returns whether transformers has this class, and it is one of this family's, or of any if the family is not known.
pub(super) fn is_class_of(class: &str, family: Option<Family>) -> bool {
    let fits = |model_type| family.is_none_or(|family| family.model_types().contains(&model_type));
    model_type_of_class(class).is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_family_has_classes() {
        for family in Family::all() {
            let known = |model_type: &&str| {
                CLASSES.iter().any(|(_, of_class)| of_class == model_type) || *model_type == "gemma3_text"
            };
            assert!(family.model_types().iter().all(known), "{family}");
        }
    }

    #[test]
    fn a_class_of_another_family_with_a_longer_name_is_not_mistaken() {
        assert_eq!(model_type_of_class("GPTNeoForCausalLM"), Some("gpt_neo"));
        assert_eq!(model_type_of_class("GPTNeoXForCausalLM"), Some("gpt_neox"));
        for class in
            ["Llama4ForCausalLM", "Gemma3nForCausalLM", "MistralNemoThing", "LlamaBidirectionalModel"]
        {
            assert_eq!(model_type_of_class(class), None, "{class}");
        }
    }

    #[test]
    fn a_class_of_someones_own_is_named_after_one_of_transformers() {
        assert_eq!(model_type_named_in("MyLlamaForCausalLM"), Some("llama"));
        assert_eq!(model_type_named_in("TunedGPTNeoXForCausalLM"), Some("gpt_neox"));
        for class in ["Qwen3MoeForCausalLM", "LlamaForCausalLMEagle3", "CTRLModel", "größer", ""] {
            assert_eq!(model_type_named_in(class), None, "{class}");
        }
    }

    #[test]
    fn old_files_are_recognised_where_there_is_no_doubt() {
        let guessed = |config: Value| guess(config.as_object().unwrap()).map(|(model_type, _)| model_type);
        let gpt2 = json!({"n_embd": 8, "n_head": 2, "n_layer": 1, "n_ctx": 9, "layer_norm_epsilon": 1e-5});
        assert_eq!(guessed(gpt2.clone()), Some("gpt2"));
        let mut gpt = gpt2.clone();
        gpt["afn"] = json!("gelu");
        assert_eq!(guessed(gpt), None);
        let mut other = gpt2;
        other["architectures"] = json!(["CTRLModel"]);
        assert_eq!(guessed(other.clone()), None);
        other["architectures"] = json!([]);
        assert_eq!(guessed(other), Some("gpt2"));
        assert_eq!(guessed(json!({"architectures": ["MistralModel"]})), Some("mistral"));
        assert_eq!(guessed(json!({"hidden_size": 8, "rms_norm_eps": 1e-6})), None);
    }
}
