//! Faults of config.json.

mod all_at_once;
mod computations;
mod layers;
mod sizes;

use inject_models::{ConfigProblem, Logits, ModelError, Note, Tap, TokenBatch, config::NormConfig};
use serde_json::{Value, json};

use super::Checkpoint;

/// More than any list could hold, within what a JSON number can say exactly.
const ABSURD: u64 = 1 << 60;

#[test]
fn a_folder_without_config_is_refused() {
    let error =
        Checkpoint::copy_of("llama").without_file("config.json").error("config.json", &["cannot read"]);
    assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_config_is_refused_and_not_waited_for() {
    let checkpoint = Checkpoint::copy_of("llama").without_file("config.json");
    let made = std::process::Command::new("mkfifo").arg(checkpoint.path("config.json")).status();
    assert!(made.unwrap().success());
    let (send, receive) = std::sync::mpsc::channel();
    // Its reader would wait for ever, and the thread with it.
    std::thread::spawn(move || {
        checkpoint.error("config.json", &["cannot read", "expected an ordinary file"]);
        send.send(()).unwrap();
    });
    receive.recv_timeout(std::time::Duration::from_secs(60)).expect("an error");
}

#[test]
fn a_config_that_is_not_json_is_refused() {
    for text in ["", "{\"model_type\": \"llama\",", "model_type: llama", "{,}"] {
        let error =
            Checkpoint::copy_of("llama").with_file("config.json", text).error("config.json", &["line 1"]);
        assert!(matches!(error, ModelError::Json { .. }), "{text}: {error:?}");
    }
}

#[test]
fn constants_that_are_not_json_are_refused_where_they_are_read() {
    let config = |key: &str| {
        Checkpoint::copy_of("llama").with_bytes("config.json", |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            *bytes = text.replacen('{', &format!("{{\"{key}\": NaN, "), 1).into_bytes();
        })
    };
    Checkpoint::copy_of("llama").with_key("rms_norm_eps", "NaN").bad_key(
        "rms_norm_eps",
        "\"NaN\"",
        "a number",
    );
    assert!(matches!(config("neftune").load().unwrap().notes(), [Note::UnreadKeys { .. }]));
}

#[test]
fn a_config_that_is_not_an_object_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_file("config.json", "[1, 2]");
    let error = checkpoint.error("config.json", &["invalid type: sequence", "expected a map"]);
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
}

#[test]
fn a_config_that_is_not_text_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_file("config.json", [0x80, 0xff, 0x00]);
    let error = checkpoint.error("config.json", &["UTF-8"]);
    assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
}

#[test]
fn an_unknown_model_type_is_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("model_type", "mamba");
    let problem = checkpoint.problem(&["`model_type`", "`mamba`", "gpt2, gpt_neo, llama", "phi3"]);
    assert!(matches!(problem, ConfigProblem::UnknownFamily { found, .. } if found == "mamba"));
}

#[test]
fn a_config_without_model_type_is_refused_where_it_leaves_doubt() {
    let without = |case| Checkpoint::copy_of(case).without_key("model_type").without_key("architectures");
    let all = ["`model_type` is missing", "expected one of gpt2, gpt_neo, llama"];
    let of_many = without_keys_of_llama(without("llama"));
    let says =
        [r#"add the line "model_type": "llama" or that of another whose keys these are, mistral, "#, "qwen2"];
    let problem = of_many.problem(&[all, says].concat());
    assert!(matches!(&problem, ConfigProblem::Missing { key, .. } if key == "model_type"), "{problem:?}");
    // The keys of these files are those of no other family.
    for (case, model_type) in [
        ("llama", "llama"),
        ("gpt-neox", "gpt_neox"),
        ("gemma3-multimodal", "gemma3"),
        ("smollm3", "smollm3"),
    ] {
        let advice = format!("add the line \"model_type\": \"{model_type}\"");
        let problem = without(case).problem(&[&all[..], &[&advice]].concat());
        assert!(!problem.to_string().contains("or that of another"), "{problem}");
    }
}

#[test]
fn a_config_of_no_family_suggests_none() {
    let bert = json!({"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_size": 768,
        "intermediate_size": 3072, "max_position_embeddings": 512, "num_attention_heads": 12,
        "num_hidden_layers": 12, "type_vocab_size": 2, "vocab_size": 30522});
    for config in [json!({}), json!({"_class_name": "UNet2DConditionModel", "in_channels": 4}), bert] {
        let checkpoint = Checkpoint::copy_of("llama").with_file("config.json", config.to_string());
        let problem = checkpoint.problem(&["`model_type` is missing", "no key that shows one of them"]);
        assert!(!problem.to_string().contains("add the line"), "{problem}");
    }
}

/// Leaves the keys that many families have.
fn without_keys_of_llama(checkpoint: Checkpoint) -> Checkpoint {
    ["pretraining_tp", "attention_bias", "mlp_bias"].into_iter().fold(checkpoint, Checkpoint::without_key)
}

#[test]
fn a_class_of_its_own_says_which_model_type_is_advised() {
    let named = |class: &str, says: &[&str]| {
        let checkpoint = Checkpoint::copy_of("llama").with_key("architectures", json!([class]));
        without_keys_of_llama(checkpoint).without_key("model_type").problem(says)
    };
    let says = [r#"add the line "model_type": "mistral", if `MyMistralForCausalLM` computes as one of them"#];
    named("MyMistralForCausalLM", &says);
    // Other models have names that begin with those of the families.
    let says =
        [r#"add the line "model_type": "llama" or that of another"#, "if `Qwen3MoeForCausalLM` computes"];
    named("Qwen3MoeForCausalLM", &says);
}

#[test]
fn a_missing_key_is_named() {
    for (case, name) in [
        ("gpt2", "n_embd"),
        ("gpt-neo", "num_heads"),
        ("llama", "hidden_size"),
        ("mistral", "num_hidden_layers"),
        ("gemma3", "intermediate_size"),
        ("phi4", "vocab_size"),
    ] {
        let problem = Checkpoint::copy_of(case)
            .without_key(name)
            .problem(&[&format!("`{name}` is missing"), "expected a whole number"]);
        assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == name), "{case}");
    }
}

#[test]
fn a_missing_key_of_a_nested_object_is_named_with_its_path() {
    let problem = Checkpoint::copy_of("llama")
        .with_key("rope_parameters", json!({"rope_type": "linear"}))
        .problem(&["`rope_parameters.factor` is missing", "expected a number"]);
    assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == "rope_parameters.factor"));

    let problem = Checkpoint::copy_of("gemma3-multimodal")
        .without_key("text_config")
        .problem(&["`text_config` is missing", "expected an object"]);
    assert!(matches!(problem, ConfigProblem::Missing { key, .. } if key == "text_config"));
}

#[test]
fn a_key_of_the_wrong_type_is_refused() {
    let llama = |key: &str, value| Checkpoint::copy_of("llama").with_key(key, value);
    llama("hidden_size", json!("32")).bad_key("hidden_size", "\"32\"", "a whole number");
    llama("hidden_size", json!(32.5)).bad_key("hidden_size", "32.5", "a whole number");
    llama("hidden_size", json!(-32)).bad_key("hidden_size", "-32", "a whole number");
    llama("rms_norm_eps", json!([1])).bad_key("rms_norm_eps", "[1]", "a number");
    llama("hidden_act", json!(3)).bad_key("hidden_act", "3", "a string");
    llama("mlp_bias", json!(1)).bad_key("mlp_bias", "1", "a boolean");
    llama("rope_parameters", json!("none")).bad_key("rope_parameters", "\"none\"", "an object");
    llama("bos_token_id", json!("<s>")).bad_key("bos_token_id", "\"<s>\"", "a whole number");
    llama("model_type", json!(["llama"])).bad_key("model_type", "[\"llama\"]", "a string");
}

#[test]
fn two_spellings_of_a_key_must_agree() {
    let spelt = |width: u64| Checkpoint::copy_of("gpt2").with_key("hidden_size", width);
    spelt(24).load().unwrap();
    spelt(24).without_key("n_embd").load().unwrap();
    spelt(32).contradiction(["hidden_size", "n_embd"], ["32", "24"]);
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("hidden_size", "x".repeat(10_000));
    assert!(checkpoint.error("config.json", &["`hidden_size`", "xxx..."]).to_string().len() < 1000);
}

#[test]
fn a_config_in_another_encoding_is_refused_by_its_name() {
    let text = "\u{feff}{\"model_type\": \"llama\"}";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, says) in
        [(utf16, "it is in UTF-16: save it as UTF-8"), (vec![b'{', 0xff], "it is not in UTF-8")]
    {
        let error =
            Checkpoint::copy_of("llama").with_file("config.json", bytes).error("config.json", &[says]);
        assert!(matches!(error, ModelError::Read { .. }), "{error:?}");
    }
}

#[test]
fn a_config_longer_than_any_is_refused_unread() {
    let checkpoint = Checkpoint::copy_of("gpt2").with_file("config.json", "");
    // A sparse file: reading it whole would take a terabyte.
    let file = std::fs::File::options().write(true).open(checkpoint.path("config.json")).unwrap();
    if file.set_len(1 << 40).is_err() {
        file.set_len(1 << 26).unwrap();
    }
    checkpoint.error("config.json", &["more than 33554432 bytes"]);
}
