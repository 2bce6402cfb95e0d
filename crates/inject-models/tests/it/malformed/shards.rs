//! Faults of a checkpoint in several files.

use inject_models::ModelError;
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

use super::Checkpoint;

const INDEX: &str = "model.safetensors.index.json";
const SHARD: &str = "model-00002-of-00003.safetensors";
const OTHER_SHARD: &str = "model-00001-of-00003.safetensors";

fn sharded() -> Checkpoint {
    Checkpoint::copy_of("llama-bf16-shards")
}

/// The first tensor that the index puts into [`SHARD`].
fn tensor_of_shard(checkpoint: &Checkpoint) -> String {
    let index: Value = serde_json::from_slice(&std::fs::read(checkpoint.path(INDEX)).unwrap()).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    map.iter().find(|(_, shard)| **shard == json!(SHARD)).unwrap().0.clone()
}

fn with_weight_map(edit: impl FnOnce(&mut Value)) -> Checkpoint {
    sharded().with_json(INDEX, |index| edit(&mut index["weight_map"]))
}

#[test]
fn an_index_that_is_not_json_is_refused() {
    let error = sharded().with_file(INDEX, "{\"weight_map\":").error(INDEX, &["not valid", "line 1"]);
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
}

#[test]
fn an_index_without_weight_map_is_refused() {
    let error =
        sharded().with_file(INDEX, "{\"metadata\": {}}").error(INDEX, &["missing field `weight_map`"]);
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
    let error =
        with_weight_map(|map| map["lm_head.weight"] = json!(3)).error(INDEX, &["`3`", "expected a string"]);
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
}

#[test]
fn an_index_that_names_nothing_is_refused() {
    let error = with_weight_map(|map| *map = json!({}))
        .error(INDEX, &["`model.embed_tokens.weight` is missing", "[97, 32]"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

#[test]
fn a_shard_that_is_not_there_is_named() {
    let checkpoint = sharded();
    let tensor = tensor_of_shard(&checkpoint);
    let error = checkpoint
        .without_file(SHARD)
        .error(INDEX, &[&tensor, SHARD, "the index places tensor", "which does not exist"]);
    assert!(matches!(error, ModelError::MissingShard { shard, .. } if shard == SHARD));
}

#[test]
fn all_shards_that_are_not_there_are_named() {
    let error = sharded()
        .without_file(SHARD)
        .without_file(OTHER_SHARD)
        .error(INDEX, &[SHARD, OTHER_SHARD, "nor does", "fetch what is missing into the folder"]);
    assert!(matches!(error, ModelError::MissingShard { others, .. } if others == [SHARD]));
}

/// transformers takes the values of the shard that it loads last.
#[test]
fn a_tensor_with_two_values_in_two_shards_is_refused() {
    let tensor = tensor_of_shard(&sharded());
    let twice = |change: u8| {
        let bytes = std::fs::read(sharded().path(SHARD)).unwrap();
        let (of_shard, other) = (SafeTensors::deserialize(&bytes).unwrap(), sharded());
        let view = of_shard.tensor(&tensor).unwrap();
        let mut values = view.data().to_vec();
        values[0] ^= change;
        let second = TensorView::new(view.dtype(), view.shape().to_vec(), &values).unwrap();
        let bytes = std::fs::read(other.path(OTHER_SHARD)).unwrap();
        let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        tensors.push((tensor.clone(), second));
        other.with_file(OTHER_SHARD, safetensors::serialize(tensors, None).unwrap())
    };
    twice(0).load().unwrap();
    twice(1).damaged(
        INDEX,
        &[&format!("tensor `{tensor}` has other values in `{OTHER_SHARD}` than in `{SHARD}`")],
    );
}

#[test]
fn a_shard_outside_the_folder_is_refused() {
    for shard in ["../model.safetensors", "/etc/passwd", "a/../../b", "C:\\b", "a\\b", "a//b", "", "."] {
        let checkpoint = with_weight_map(|map| map["lm_head.weight"] = json!(shard));
        let named = format!("shard `{shard}` of tensor `lm_head.weight`");
        let error = checkpoint.error(INDEX, &[&named, "expected a path below"]);
        assert!(matches!(error, ModelError::UnsafeShard { .. }), "{error:?}");
    }
}

#[test]
fn a_shard_in_a_subfolder_is_read() {
    let checkpoint = with_weight_map(|map| {
        for shard in map.as_object_mut().unwrap().values_mut().filter(|shard| **shard == json!(SHARD)) {
            *shard = json!(format!("weights/{SHARD}"));
        }
    });
    std::fs::create_dir(checkpoint.path("weights")).unwrap();
    std::fs::rename(checkpoint.path(SHARD), checkpoint.path("weights").join(SHARD)).unwrap();
    checkpoint.load().unwrap();
}

#[test]
fn a_tensor_in_another_shard_than_the_index_says_is_read_from_there() {
    let checkpoint = sharded();
    let tensor = tensor_of_shard(&checkpoint);
    checkpoint.with_json(INDEX, |index| index["weight_map"][&tensor] = json!(OTHER_SHARD)).load().unwrap();
}

#[test]
fn a_tensor_that_no_shard_holds_is_missed_if_the_model_needs_it() {
    let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    with_weight_map(|map| map[name] = json!(SHARD)).load().unwrap();
    let error = with_weight_map(|map| {
        map.as_object_mut().unwrap().retain(|_, shard| *shard != SHARD);
    })
    .error(INDEX, &["is missing"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

#[test]
fn a_tensor_that_the_index_does_not_name_is_surplus_where_the_model_has_no_use_for_it() {
    let checkpoint = sharded().with_key("num_hidden_layers", 2);
    let error = checkpoint.error("", &["`model.layers.2.", "not part of a `llama` model"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

#[test]
fn a_damaged_shard_is_named() {
    sharded().with_bytes(SHARD, |bytes| bytes.truncate(50)).damaged(SHARD, &["it announces a header of"]);
}

#[test]
fn a_stray_file_is_not_looked_at() {
    assert!(sharded().path("stray.safetensors").is_file());
    sharded().load().unwrap();
    sharded().with_file("stray.safetensors", "garbage").load().unwrap();
    sharded().with_file("pytorch_model.bin", "garbage").load().unwrap();
}
