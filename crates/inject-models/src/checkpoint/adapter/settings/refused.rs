//! The settings that are not read for their value: those without influence, and those that ask for another computation.

use serde_json::Value;

use crate::checkpoint::adapter::AdapterError;

/// Keys without influence on the merged weights: bookkeeping, training, the tying of modules (their tensors show it), and the layout of
/// weights in memory. `fan_in_fan_out` says that the weight is stored
/// transposed, which the model's family knows.
const WITHOUT_INFLUENCE: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Keys that ask for a computation that is not merged if they are set, and the only value that is understood.
const REFUSED: &[(&str, &str)] = &[
    ("alora_invocation_tokens", "null (an activated LoRA changes some positions and not others)"),
    ("arrow_config", "null (a routed LoRA chooses among adapters by token)"),
    ("kasa_config", "null (KaSA is not merged)"),
    ("layer_replication", "null (layers are not repeated)"),
    ("lora_bias", "false (a bias of the second factor is not merged)"),
    ("megatron_config", "null (parallel layers of Megatron are not read)"),
    ("monteclora_config", "null (MonteCLoRA is not merged)"),
    ("target_parameters", "null (parameters outside of modules are not changed)"),
    ("trainable_token_indices", "null (single rows of the embedding are not replaced)"),
    ("use_bdlora", "null (BD-LoRA is not merged)"),
    (
        "use_dora",
        "false (DoRA scales each output by a learned magnitude: merge it with PEFT, by `merge_and_unload`)",
    ),
    ("use_qalora", "false (QA-LoRA is not merged)"),
    ("velora_config", "null (VeLoRA is not merged)"),
];

/// The kinds of adapters that add vectors to the prompt or to what its positions attend to.
///
/// # Source
///
/// PEFT 0.21.2, `utils/peft_types.py`.
const OF_THE_PROMPT: &[&str] = &[
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
    "P_TUNING",
];

/// The expectation that an adapter of another kind does not meet.
pub(super) fn other_kind(kind: &Value) -> &'static str {
    match kind.as_str().is_some_and(|kind| OF_THE_PROMPT.contains(&kind)) {
        true => "`LORA`: this kind adds vectors to the prompt, and cannot be merged into weights",
        false => {
            "`LORA`: merge another kind with PEFT (`merge_and_unload`), if PEFT can, and give the merged model"
        }
    }
}

/// Refuses initialisations that change the weights of the model itself when the adapter is attached.
pub(super) fn initialisation(value: &Value) -> Result<(), AdapterError> {
    let harmless = match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(name) => ["gaussian", "eva", "orthogonal"].contains(&name.as_str()),
        _ => false,
    };
    if harmless {
        return Ok(());
    }
    let expected = "true, false, `gaussian`, `eva` or `orthogonal`: others change the weights of the model too. Convert the \
                    adapter to a plain LoRA with PEFT";
    Err(setting("init_lora_weights", value, expected))
}

/// The fault of a key that is not read for its value.
pub(super) fn refused(key: &str, value: &Value) -> Option<AdapterError> {
    if is_unset(value) || WITHOUT_INFLUENCE.contains(&key) {
        return None;
    }
    let known = REFUSED.iter().find(|(refused, _)| *refused == key);
    let expected =
        known.map_or("no such key, or one that is not set: it is not known", |&(_, expected)| expected);
    Some(setting(key, value, expected))
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The fault of one setting. A long value is cut off.
pub(in crate::checkpoint::adapter) fn setting(
    key: &str,
    found: &Value,
    expected: &'static str,
) -> AdapterError {
    const LIMIT: usize = 120;
    let mut found = found.to_string();
    if let Some((end, _)) = found.char_indices().nth(LIMIT) {
        found.truncate(end);
        found.push_str("...");
    }
    AdapterError::Setting { key: key.to_owned(), found, expected }
}
