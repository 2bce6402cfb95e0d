//! Folders of random weights, opened as any other checkpoint.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use burn::tensor::Device;

use super::*;
use crate::{Logits, Model, Origin, Tap, TokenBatch, config::NormConfig, progress::silent};

fn config_text(fixture: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read_to_string(fixtures.join(fixture).join("config.json")).unwrap()
}

fn written(checkpoint: &RandomCheckpoint) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let files = checkpoint.files().into_iter().map(|file| {
        let path = folder.path().join(file.name());
        file.write_to(&mut File::create(&path).unwrap(), &mut silent).unwrap();
        path
    });
    let files = files.collect();
    (folder, files)
}

/// The loader refuses a folder with a tensor too few, too many, or of another shape.
#[test]
fn every_family_opens_from_random_weights() {
    let device = Device::flex();
    for fixture in inject_testing::models::FAMILIES {
        let checkpoint = RandomCheckpoint::of_config(&config_text(fixture), FloatFormat::Bf16, 3).unwrap();
        let (folder, _) = written(&checkpoint);
        let model = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, &device)
            .unwrap_or_else(|error| panic!("{fixture}: {error}"));
        assert_eq!(model.decoder.config(), checkpoint.config(), "{fixture}");
        assert_eq!(checkpoint.bytes(), 2 * checkpoint.config().n_parameters() as u64, "{fixture}");
        let tokens = TokenBatch::new(&[[5, 6, 7]]).unwrap();
        model.decoder.forward(&tokens, &[Tap::FinalNorm], Logits::Last).unwrap();
    }
}

#[test]
fn shards_hold_the_same_values_as_one_file() {
    let whole = RandomCheckpoint::of_config(&config_text("llama"), FloatFormat::F32, 3).unwrap();
    let mut divided = whole.clone();
    let tensors: Vec<_> = divided.shards.concat();
    let largest = tensors.iter().map(|tensor| tensor.bytes(FloatFormat::F32)).max().unwrap();
    divided.shards = sharded(tensors, FloatFormat::F32, largest);
    let (one, one_files) = written(&whole);
    let (many, many_files) = written(&divided);
    assert_eq!(one_files.len(), 2);
    assert!(many_files.len() > 4, "{many_files:?}");
    assert!(many.path().join("model.safetensors.index.json").exists());
    for shard in &divided.shards {
        assert!(bytes_of(shard, FloatFormat::F32) <= largest);
    }
    let device = Device::flex();
    let states = |folder: &Path| {
        let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &device).unwrap();
        let tokens = TokenBatch::new(&[[5, 6, 7]]).unwrap();
        let states = model.decoder.forward(&tokens, &[Tap::FinalNorm], Logits::None).unwrap().states;
        states[&Tap::FinalNorm].to_data().try_to_vec::<f32>().unwrap()
    };
    assert_eq!(states(one.path()), states(many.path()));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let bytes = |seed: u64| {
        let checkpoint =
            RandomCheckpoint::of_config(&config_text("gemma3"), FloatFormat::Bf16, seed).unwrap();
        let (_folder, files) = written(&checkpoint);
        files.iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1)[0], bytes(2)[0]);
    assert_eq!(bytes(1)[1], bytes(2)[1], "the config does not depend on the seed");
}

#[test]
fn progress_ends_with_all_bytes_of_all_files() {
    let mut divided = RandomCheckpoint::of_config(&config_text("gpt2"), FloatFormat::F16, 3).unwrap();
    divided.shards = sharded(divided.shards.concat(), FloatFormat::F16, 4000);
    let mut told = vec![0];
    for file in divided.files() {
        file.write_to(&mut io::sink(), &mut |progress| {
            assert_eq!(progress.total, divided.bytes());
            told.push(progress.done);
        })
        .unwrap();
    }
    assert!(told.is_sorted());
    assert_eq!(told.last(), Some(&divided.bytes()));
}

#[test]
fn weights_start_as_the_family_has_them() {
    let tensors = |fixture: &str| {
        let checkpoint = RandomCheckpoint::of_config(&config_text(fixture), FloatFormat::F32, 1).unwrap();
        (checkpoint.shards.concat(), checkpoint.config)
    };
    let values = |tensors: &[PlannedTensor], end: &str| {
        tensors.iter().find(|tensor| tensor.name.ends_with(end)).unwrap().values
    };
    let std = |tensors: &[PlannedTensor], end: &str| match values(tensors, end) {
        plan::Values::Normal { std } => std,
        other => panic!("{end}: {other:?}"),
    };
    let (gpt2, config) = tensors("gpt2");
    assert!(matches!(config.final_norm, NormConfig::Layer { .. }));
    let by_depth = (2.0 * config.n_layers() as f64).sqrt();
    assert_eq!(std(&gpt2, "h.0.mlp.c_proj.weight"), std(&gpt2, "wte.weight") / by_depth);
    assert_eq!(std(&gpt2, "h.0.attn.c_proj.weight"), std(&gpt2, "h.0.attn.c_attn.weight") / by_depth);
    assert_eq!(values(&gpt2, "ln_f.weight"), plan::Values::Constant(1.0));
    assert_eq!(values(&gpt2, "ln_f.bias"), plan::Values::Constant(0.0));
    let (gemma3, _) = tensors("gemma3");
    assert_eq!(values(&gemma3, "model.norm.weight"), plan::Values::Constant(0.0));
    assert_eq!(std(&gemma3, "down_proj.weight"), std(&gemma3, "embed_tokens.weight"));
}

#[test]
fn the_config_names_the_format_of_the_weights() {
    let text = config_text("llama").replacen('{', r#"{"torch_dtype": "float64", "#, 1);
    let checkpoint = RandomCheckpoint::of_config(&text, FloatFormat::F16, 1).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&checkpoint.config_json).unwrap();
    assert_eq!(settings["dtype"], "float16");
    assert!(settings.get("torch_dtype").is_none());
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let text = config_text("llama");
    let error = RandomCheckpoint::of_config(&text, FloatFormat::F64, 1).unwrap_err();
    assert!(matches!(error, ModelError::UnsupportedFormat { .. }), "{error}");
    let with_range = |range: &str| {
        let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
        settings["initializer_range"] = serde_json::from_str(range).unwrap();
        settings.to_string()
    };
    for range in ["0", "-0.02", "\"small\""] {
        let error = RandomCheckpoint::of_config(&with_range(range), FloatFormat::F32, 1).unwrap_err();
        assert!(error.to_string().contains("`initializer_range`"), "{error}");
    }
    let error = RandomCheckpoint::of_config(&with_range("5000"), FloatFormat::F16, 1).unwrap_err();
    assert!(matches!(error, ModelError::BeyondFormat { .. }), "{error}");
    RandomCheckpoint::of_config(&with_range("5000"), FloatFormat::Bf16, 1).unwrap();
}
