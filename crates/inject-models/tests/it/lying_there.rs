//! Checkpoints as they lie in folders: what loads, with which notes, and what is named in one line.

mod heads;
mod instead;
mod unread_codes;

use std::fs;

use inject_models::{
    Evidence, FloatFormat, Logits, Model, ModelError, Note, Origin, Tap, TokenBatch, checkpoint::Instead,
};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::{
    fixture::{self, values},
    malformed::{Checkpoint, Stored},
};

const FILE: &str = "model.safetensors";

/// The state of a few tokens after the final norm.
fn state(model: &Model) -> Vec<f64> {
    let prompt = TokenBatch::new(&[[1, 5, 9, 5]]).unwrap();
    let mut forward = model.decoder.forward(&prompt, &[Tap::FinalNorm], Logits::None).unwrap();
    values(forward.states.remove(&Tap::FinalNorm).unwrap())
}

/// The logits after a few tokens.
fn logits(model: &Model) -> Vec<f64> {
    let prompt = TokenBatch::new(&[[1, 5, 9, 5]]).unwrap();
    values(model.decoder.forward(&prompt, &[], Logits::Last).unwrap().logits.unwrap())
}

fn llama() -> Checkpoint {
    Checkpoint::copy_of("llama")
}

/// The fixture with other names of tensors.
fn renamed(name: impl Fn(&str) -> String) -> Checkpoint {
    llama().with_tensors(|tensors| {
        *tensors = std::mem::take(tensors).into_iter().map(|(old, stored)| (name(&old), stored)).collect();
    })
}

/// Checks that a checkpoint has the states of the fixture, and these notes.
fn equals_llama(checkpoint: &Checkpoint, notes: &[Note]) {
    let model = checkpoint.load().unwrap();
    assert_eq!(state(&model), state(&llama().load().unwrap()));
    assert_eq!(model.notes(), notes);
}

#[test]
fn pickled_shards_load_by_their_index() {
    let checkpoint = Checkpoint::copy_of("llama-bin-shards");
    equals_llama(&checkpoint, &[]);
    let shard = "pytorch_model-00002-of-00002.bin";
    let error = checkpoint.without_file(shard).error("pytorch_model.bin.index.json", &[shard]);
    assert!(matches!(error, ModelError::MissingShard { .. }), "{error:?}");
}

#[test]
fn tensors_within_a_training_checkpoint_load() {
    let note = Note::Unwrapped { wrappers: vec!["state_dict"], left_out: vec![] };
    equals_llama(&Checkpoint::copy_of("llama-nested-bin"), &[note]);
}

#[test]
fn weights_in_double_precision_load() {
    let checkpoint = llama().with_tensors(|tensors| {
        for stored in tensors.values_mut() {
            let widened = stored.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            stored.bytes = widened.flat_map(|value| f64::from(value).to_le_bytes()).collect();
            stored.dtype = Dtype::F64;
        }
    });
    equals_llama(&checkpoint, &[]);
}

#[test]
fn the_names_of_wrappers_are_taken_off() {
    for (wrapper, name) in
        [("module", "module.{}"), ("_orig_mod", "_orig_mod.{}"), ("base_model.model", "base_model.model.{}")]
    {
        let checkpoint = renamed(|old| name.replace("{}", old));
        equals_llama(&checkpoint, &[Note::Unwrapped { wrappers: vec![wrapper], left_out: vec![] }]);
    }
    let within = renamed(|old| old.replace("self_attn.", "self_attn._orig_mod."));
    equals_llama(&within, &[Note::Unwrapped { wrappers: vec!["_orig_mod"], left_out: vec![] }]);
}

#[test]
fn a_field_base_model_keeps_the_head() {
    let checkpoint = renamed(|old| format!("base_model.{old}"));
    equals_llama(&checkpoint, &[Note::Unwrapped { wrappers: vec!["base_model"], left_out: vec![] }]);
    assert_eq!(logits(&checkpoint.load().unwrap()), logits(&llama().load().unwrap()));
}

#[test]
fn an_unknown_step_before_all_names_is_named() {
    let error = renamed(|old| format!("llm.{old}")).error(FILE, &["begin with `llm.`", "`llama` model"]);
    assert!(matches!(error, ModelError::Within { .. }), "{error:?}");
    // Without one of the tensors, the others are not the model.
    let less = renamed(|old| format!("llm.{}", old.replace("norm.weight", "norm.w")));
    let error = less.error(FILE, &["`model.embed_tokens.weight` is missing"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

#[test]
fn a_config_that_quantises_no_weights_leaves_them_as_they_are() {
    let method = |method: &str| Note::NothingQuantised { method: method.to_owned() };
    let compressed = |key: &str, value: Value| {
        llama().with_key("quantization_config", json!({"quant_method": "compressed-tensors", key: value}))
    };
    let notes = [method("compressed-tensors")];
    equals_llama(&compressed("config_groups", json!({})), &notes);
    let sparse = json!({"format": "dense", "sparsity_structure": "2:4"});
    equals_llama(&compressed("sparsity_config", sparse), &notes);
    let cache = compressed("kv_cache_scheme", json!({"num_bits": 8, "type": "float"}));
    let cache = cache.with_tensors(|tensors| {
        for of in ["k", "v"] {
            let name = format!("model.layers.0.self_attn.{of}_scale");
            tensors.insert(name, Stored::f32(&[1], 0.5));
        }
    });
    equals_llama(&cache, &notes);
    let bits = json!({"quant_method": "bitsandbytes", "load_in_4bit": false, "load_in_8bit": false});
    equals_llama(&llama().with_key("quantization_config", bits), &[method("bitsandbytes")]);
    // The key of old releases of compressed-tensors. transformers does not read it.
    let key = "compression_config".to_owned();
    let unread = llama().with_key(&key, json!({"quant_method": "compressed-tensors", "format": "dense"}));
    equals_llama(&unread, &[Note::UnreadKeys { keys: vec![key] }]);
    // Tensors that are quantised all the same are not read as numbers.
    let packed = compressed("config_groups", json!({})).with_tensors(|tensors| {
        tensors.insert("model.layers.0.mlp.up_proj.weight_packed".to_owned(), Stored::f32(&[2, 32], 0.5));
    });
    packed.error(FILE, &["quantised (compressed-tensors"]);
    let left_out = json!({"format": "sparse-24-bitmask"});
    compressed("sparsity_config", left_out)
        .error(FILE, &["quantised (compressed-tensors sparse-24-bitmask)"]);
}

#[test]
fn adapter_weights_among_the_others_are_refused() {
    let name = "model.layers.0.self_attn.q_proj.lora_A.default.weight";
    let checkpoint = llama().with_tensors(|tensors| {
        tensors.insert(name.to_owned(), Stored::f32(&[2, 32], 0.5));
    });
    let error = checkpoint.error(FILE, &[name, "merge it first"]);
    assert!(matches!(error, ModelError::Unmerged { .. }), "{error:?}");
}

/// transformers 5 calls the head of every class `lm_head`.
/// transformers renames them in modules called `LayerNorm` alone. Here it would compute with norms of ones.
#[test]
fn norms_of_other_names_are_refused() {
    for (case, norm) in [("gpt2", "ln_1"), ("llama", "input_layernorm")] {
        let checkpoint = Checkpoint::copy_of(case).with_tensors(|tensors| {
            let old = |name: String| match name.contains(norm) {
                true => name.replace(".weight", ".gamma").replace(".bias", ".beta"),
                false => name,
            };
            *tensors =
                std::mem::take(tensors).into_iter().map(|(name, tensor)| (old(name), tensor)).collect();
        });
        checkpoint.error(FILE, &[&format!("0.{norm}.weight"), &format!("0.{norm}.gamma")]);
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_not_bos() {
    for (found, expected) in [(96_i64, Some(96)), (97, None), (50_256, None), (-1, None), (1 << 40, None)] {
        let model = llama().with_key("bos_token_id", found).load().unwrap();
        assert_eq!(model.bos_token_id(), expected, "{found}");
        let key = "bos_token_id".to_owned();
        let note = Note::BosOutside { key, found, vocab_size: 97 };
        let notes: Vec<Note> = expected.is_none().then_some(note).into_iter().collect();
        assert_eq!(model.notes(), notes);
    }
}

#[test]
fn another_tokenizer_stands_in_for_one_that_is_not_read() {
    let gguf = fixture::folder("gguf/gpt2.gguf");
    let mut bytes = fs::read(&gguf).unwrap();
    let key = b"tokenizer.ggml.pre";
    let begin = bytes.windows(key.len()).position(|window| window == key).unwrap();
    bytes[begin + key.len() - 1] = b'~';
    let folder = tempfile::tempdir().unwrap();
    let unread = folder.path().join("unread.gguf");
    fs::write(&unread, bytes).unwrap();
    let checkpoint = llama().with_file("tokenizer.json", "{}");
    for place in [unread, checkpoint.path("")] {
        let load = |origin| Model::load(origin, FloatFormat::F32, &inject_testing::any_device());
        let error = load(Origin::of_folder(&place)).unwrap().tokenizer().unwrap_err();
        assert!(matches!(error, ModelError::UnusableTokenizer { .. }), "{error:?}");
        let model = load(Origin::of_folder(&place).with_tokenizer(&gguf)).unwrap();
        assert!(!model.tokenizer().unwrap().encode("On", inject_models::Bos::No).unwrap().is_empty());
    }
}

#[test]
fn an_old_config_without_model_type_is_recognised() {
    let note = |model_type, evidence| Note::FamilyGuessed { model_type, evidence };
    let architecture = |class: &str| Evidence::Architecture(class.to_owned());
    let by_class = llama().without_key("model_type").with_key("architectures", json!(["LlamaForCausalLM"]));
    equals_llama(&by_class, &[note("llama", architecture("LlamaForCausalLM"))]);
    equals_llama(&by_class.with_key("model_type", ""), &[note("llama", architecture("LlamaForCausalLM"))]);

    let by_keys = Checkpoint::copy_of("gpt2").without_key("model_type").without_key("architectures");
    assert_eq!(by_keys.load().unwrap().notes(), [note("gpt2", Evidence::Keys)]);
}
