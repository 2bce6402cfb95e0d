//! GGUF files against the checkpoints that they were made from: the same settings, weights, states and tokens.

mod settings;
mod tokenizer;

use std::{collections::BTreeMap, fs, path::Path};

use inject_models::{
    Bos, FloatFormat, Model, ModelError, ModelSource, Origin, checkpoint::Instead, config::Span,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::{
    fixture,
    malformed::{
        Checkpoint,
        gguf::{FLOAT32, I32, LIST, TEXT, U32, after, hide, list_of_i32, set, text, with_key},
    },
    parity, quantised,
};

/// Each file, the fixture that it was made from, and the golden files of that.
pub(crate) const FILES: [(&str, &str, &[&str]); 11] = [
    ("llama", "llama-bf16-shards", &["golden"]),
    ("llama-linear", "llama-linear", &["golden"]),
    ("llama3-scaling", "llama3-scaling", &["golden"]),
    ("gpt2", "gpt2-hub-names", &["golden"]),
    ("phi3", "phi3", &["golden"]),
    ("phi4", "phi4", &["golden", "golden-long"]),
    ("qwen3", "qwen3", &["golden"]),
    ("gpt-neox", "gpt-neox", &["golden"]),
    ("gpt-neox-sequential", "gpt-neox-sequential", &["golden"]),
    ("olmo2", "olmo2", &["golden"]),
    ("smollm3", "smollm3", &["golden"]),
];

pub(crate) fn path(file: &str) -> std::path::PathBuf {
    fixture::folder("gguf").join(file).with_extension("gguf")
}

fn load(file: &str) -> Model {
    let origin = Origin::of_folder(&path(file));
    Model::load(origin, FloatFormat::F32, &inject_testing::any_device())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The parameters in F32, by name.
fn parameters(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

#[test]
fn the_weights_of_a_file_are_those_of_its_checkpoint() {
    for (file, case, _) in FILES {
        let found = parameters(&load(file));
        let expected = parameters(&fixture::load(case, FloatFormat::F32, &inject_testing::any_device()));
        assert!(found == expected, "{file}");
    }
}

#[test]
fn the_states_of_a_file_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (file, case, goldens) in FILES {
            let model = Model::load(Origin::of_folder(&path(file)), FloatFormat::F32, &device).unwrap();
            for golden in goldens {
                let worst = parity::check_decoder(case, golden, FloatFormat::F32, &device, &model.decoder);
                println!("{file}.gguf on {device:?}: worst distance {worst:.2} of the tolerance");
            }
        }
    }
}

/// A GGUF file has no key for Gemma's `query_pre_attn_scalar`: it is the width of a head in all models but the largest. Nor
/// does it hold the weights of norms, but their sums with 1, rounded to 24 bits.
#[test]
fn a_gemma_file_equals_its_checkpoint_with_the_usual_scale_of_scores() {
    for case in ["gemma3", "gemma2"] {
        let found = load(case);
        let checkpoint = Checkpoint::copy_of(case)
            .with_key("query_pre_attn_scalar", 8)
            .with_key("rms_norm_eps", f64::from(1e-3_f32));
        let expected = checkpoint.load().unwrap();
        assert_eq!(found.decoder.config(), expected.decoder.config(), "{case}");
        let (found, expected) = (parameters(&found), parameters(&expected));
        assert_eq!(found.len(), expected.len(), "{case}");
        for (name, expected) in &expected {
            // Half the distance of two numbers between 1 and 2, and none for what is not a norm.
            let most = if name.ends_with("norm.weight") { f32::EPSILON / 2.0 } else { 0.0 };
            for (a, b) in found[name].iter().zip(expected) {
                assert!((a - b).abs() <= most, "{case}: {name}: {a} and {b}");
            }
        }
    }
}

/// A GGUF file has no key for Qwen's windows, which no published model switches on.
#[test]
fn a_qwen2_file_equals_its_checkpoint_without_windows() {
    let found = load("qwen2");
    let checkpoint = Checkpoint::copy_of("qwen2")
        .with_key("use_sliding_window", false)
        .with_key("rms_norm_eps", f64::from(1e-3_f32));
    let expected = checkpoint.load().unwrap();
    assert_eq!(found.decoder.config(), expected.decoder.config());
    assert!(parameters(&found) == parameters(&expected));
}

#[test]
fn a_file_is_named_by_itself_or_by_a_folder_with_nothing_else_to_load() {
    let file = path("llama");
    assert_eq!(file.display().to_string().parse::<ModelSource>().unwrap(), ModelSource::Folder(file.clone()));
    assert_eq!(Origin::of_folder(&file).id, "llama.gguf");
    let folder = tempfile::TempDir::new().unwrap();
    fs::copy(&file, folder.path().join("llama.gguf")).unwrap();
    let device = &inject_testing::any_device();
    let model = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, device).unwrap();
    assert_eq!(model.weight_hash().unwrap(), load("llama").weight_hash().unwrap());
    fs::copy(&file, folder.path().join("other.gguf")).unwrap();
    let error = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, device).unwrap_err();
    let ModelError::Instead { found: Instead::Gguf { files }, .. } = &error else { panic!("{error:?}") };
    assert_eq!(files[..], ["llama.gguf", "other.gguf"]);
}

/// Ollama's store names files by their hash. The files in a folder are known by their ending alone: none is opened.
#[test]
fn a_file_without_its_ending_is_known_by_its_first_bytes() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("sha256-0123abcd");
    fs::copy(path("llama"), &file).unwrap();
    assert_eq!(file.display().to_string().parse::<ModelSource>().unwrap(), ModelSource::Folder(file.clone()));
    let device = inject_testing::any_device();
    let model = Model::load(Origin::of_folder(&file), FloatFormat::F32, &device).unwrap();
    assert_eq!(model.weight_hash().unwrap(), load("llama").weight_hash().unwrap());
    let hash = |model: &Model| model.tokenizer().unwrap().hash().to_owned();
    assert_eq!(hash(&model), hash(&load("llama")));

    let loaded = |folder: &Path| Model::load(Origin::of_folder(folder), FloatFormat::F32, &device);
    let error = loaded(folder.path()).unwrap_err();
    assert!(matches!(&error, ModelError::Read { path, .. } if path.ends_with("config.json")), "{error:?}");
    fs::rename(&file, folder.path().join("model.GGUF")).unwrap();
    assert!(loaded(folder.path()).is_ok());
}

/// The model of a file whose bytes are edited.
fn edited(file: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Model {
    let mut bytes = fs::read(path(file)).unwrap();
    edit(&mut bytes);
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("edited.gguf");
    fs::write(&path, bytes).unwrap();
    Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Gives a key another type and value.
fn replace(bytes: &mut Vec<u8>, key: &str, kind: u32, value: &[u8]) {
    hide(bytes, key);
    with_key(bytes, key, kind, value);
}
