//! LoRA adapters: states of merged models against PEFT's `merge_and_unload`, and the adapters that are refused.

mod refusals;
mod selection;

use std::{error::Error, fs, path::Path};

use burn::tensor::Device;
use inject_models::{
    FloatFormat, Logits, Model, ModelError, ModelFiles, Note, Origin, Tap, TokenBatch,
    checkpoint::AdapterError,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

use crate::fixture::{self, distance, golden, values};

/// Folders of adapters, each named after its model.
const CASES: [&str; 6] = ["llama", "gpt2", "gpt-neox", "phi4", "llama3-scaling", "qwen2"];

fn origin(case: &str) -> Origin {
    Origin::of_folder(&fixture::folder(case)).with_adapter(&fixture::folder("adapters").join(case))
}

fn device() -> Device {
    inject_testing::any_device()
}

#[test]
fn merged_states_and_logits_equal_those_of_peft() {
    for device in inject_testing::compiled() {
        for case in CASES {
            check(case, FloatFormat::F32, &device);
            if inject_testing::computes_in_f64(&device) {
                check(case, FloatFormat::F64, &device);
            }
        }
    }
}

fn check(case: &str, format: FloatFormat, device: &Device) {
    let bytes = fs::read(fixture::folder("adapters").join(case).join("golden.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (expected, noise) = (golden(&file, "states"), golden(&file, "f32_noise"));
    let prompts = fixture::ids(&golden(&file, "input_ids"));
    let decoder = Model::load(origin(case), format, device).unwrap().decoder;
    let taps = Tap::all(decoder.config().n_layers());
    let forward = decoder.forward(&TokenBatch::new(&prompts).unwrap(), &taps, Logits::All).unwrap();
    let d_model = expected.shape[3];
    let states = taps.iter().flat_map(|tap| values(forward.states[tap].clone())).collect::<Vec<_>>();
    let per_tap = expected.values.len() / taps.len() / d_model;
    let rows = states.chunks(d_model).zip(expected.values.chunks(d_model));
    for (row, (found, expected)) in rows.enumerate() {
        let tap = row / per_tap;
        let tolerance = fixture::tolerance(format, noise.values[tap], expected);
        let apart = distance(found, expected);
        assert!(
            apart <= tolerance,
            "{case} in {format}, {}, row {row}: {apart:e} > {tolerance:e}",
            taps[tap]
        );
    }
    // Products with states that are `apart`, and the roundings of these products: see the parity tests.
    let expected = golden(&file, "logits").values;
    let head = values(decoder.own_head().unwrap_or_else(|| decoder.token_embedding()));
    let last = &states[states.len() - per_tap * d_model..];
    let noise = noise.values[taps.len() - 1];
    for (row, (found, expected)) in
        values(forward.logits.unwrap()).chunks(97).zip(expected.chunks(97)).enumerate()
    {
        let state = &last[row * d_model..][..d_model];
        let rounding = 2.0 * d_model as f64 * format.rounding_error(1.0) * fixture::norm(state);
        let tolerance = fixture::norm(&head) * (fixture::tolerance(format, noise, state) + rounding);
        assert!(distance(found, expected) <= tolerance, "{case} in {format}: logits of row {row}");
    }
}

/// Of two tied matrices each changes by itself, as in PEFT while it runs the adapter, unless they stay tied (`ensure_weight_tying`).
#[test]
fn tied_matrices_are_separated_by_an_adapter_that_does_not_ensure_that_they_are_tied() {
    let load = |case| Model::load(origin(case), FloatFormat::F32, &device()).unwrap();
    let apart = load("llama3-scaling");
    let modules = vec!["lm_head".to_owned(), "model.embed_tokens".to_owned()];
    assert_eq!(apart.notes(), [Note::ChangedApart { modules }]);
    assert!(apart.decoder.own_head().is_some());
    let files = ModelFiles::open(origin("llama3-scaling")).unwrap();
    let bytes = files.bytes_in_memory(FloatFormat::F32, &device());
    assert_eq!(bytes, 4 * apart.decoder.config().n_parameters() as u64);
    let tied = load("qwen2");
    assert_eq!(tied.notes(), []);
    assert!(tied.decoder.own_head().is_none());
}

/// PEFT writes the adapter `default` into the folder itself, and all others into folders of their own.
#[test]
fn adapters_in_folders_beside_the_one_that_is_used_are_noted() {
    let adapter = Copy::new();
    for name in ["second", "first"] {
        fs::create_dir(adapter.path(name)).unwrap();
        fs::copy(adapter.path("adapter_config.json"), adapter.path(name).join("adapter_config.json"))
            .unwrap();
    }
    let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(adapter.0.path());
    let model = Model::load(origin, FloatFormat::F32, &device()).unwrap();
    let folders = ["first", "second"].map(str::to_owned).to_vec();
    assert_eq!(model.notes(), [Note::OtherAdapters { folders }]);
    assert!(model.notes()[0].to_string().contains("`default`"));
}

#[test]
fn an_adapter_has_a_part_in_the_hash_and_in_the_id() {
    let plain = fixture::load("gpt2", FloatFormat::F32, &device());
    let merged = Model::load(origin("gpt2"), FloatFormat::F32, &device()).unwrap();
    assert_eq!(merged.origin().id, "gpt2 + gpt2");
    assert_ne!(merged.weight_hash().unwrap(), plain.weight_hash().unwrap());
    let again = Model::load(origin("gpt2"), FloatFormat::F32, &device()).unwrap();
    assert_eq!(merged.weight_hash().unwrap(), again.weight_hash().unwrap());
}

/// `adapter_model.bin` is what older releases of PEFT wrote.
#[test]
fn a_pickled_adapter_gives_the_states_of_the_same_adapter_in_safetensors() {
    let load = |adapter: &Path| {
        let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(adapter);
        Model::load(origin, FloatFormat::F32, &device()).unwrap()
    };
    let pickled = fixture::folder("adapters/llama-bin");
    assert!(!pickled.join("adapter_model.safetensors").exists());
    let [expected, found] = [fixture::folder("adapters/llama"), pickled].map(|folder| load(&folder));
    let states = |model: &Model| {
        let batch = TokenBatch::new(&[[5, 6, 7, 8]]).unwrap();
        let forward = model.decoder.forward(&batch, &[Tap::FinalNorm], Logits::None).unwrap();
        values(forward.states[&Tap::FinalNorm].clone())
    };
    assert_eq!(states(&found), states(&expected));
    assert_ne!(found.weight_hash().unwrap(), expected.weight_hash().unwrap());
}

/// A copy of the adapter of `llama` with other settings and tensors.
struct Copy(tempfile::TempDir);

/// A tensor of f32 values.
type Tensor = (String, Vec<usize>, Vec<u8>);

impl Copy {
    fn new() -> Self {
        let copy = Copy(tempfile::tempdir().unwrap());
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(fixture::folder("adapters/llama").join(name), copy.path(name)).unwrap();
        }
        copy
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn with(self, key: &str, value: Value) -> Self {
        let mut config: Value =
            serde_json::from_slice(&fs::read(self.path("adapter_config.json")).unwrap()).unwrap();
        config[key] = value;
        fs::write(self.path("adapter_config.json"), config.to_string()).unwrap();
        self
    }

    fn with_tensors(self, change: impl FnOnce(&mut Vec<Tensor>)) -> Self {
        let bytes = fs::read(self.path("adapter_model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<Tensor> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
            .collect();
        change(&mut tensors);
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        fs::write(self.path("adapter_model.safetensors"), safetensors::serialize(views, None).unwrap())
            .unwrap();
        self
    }

    fn error_on(&self, model: &Path) -> ModelError {
        let origin = Origin::of_folder(model).with_adapter(self.0.path());
        Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err()
    }

    fn error(&self) -> ModelError {
        self.error_on(&fixture::folder("llama"))
    }

    /// The error of the adapter itself, which is the cause of the one that is reported.
    fn refused(&self, check: impl Fn(&AdapterError) -> bool) {
        let error = self.error();
        let ModelError::Adapter { folder, source } = &error else { panic!("{error:?}") };
        assert_eq!(folder, self.0.path());
        assert!(check(source), "{source:?}");
        assert!(!error.to_string().contains(&source.to_string()) && error.source().is_some());
    }
}

/// PEFT writes the matrices of embedding and head into the file where one of the two changes, and those of `modules_to_save`.
#[test]
fn a_whole_matrix_takes_the_place_of_that_of_the_model() {
    let bytes = fs::read(fixture::folder("llama/model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let matrix = |name: &str| {
        let view = file.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    };
    let copy = |zeros: bool, saved: &[&str]| {
        Copy::new().with("modules_to_save", json!(saved)).with_tensors(|tensors| {
            for (stem, name) in
                [("model.embed_tokens", "model.embed_tokens.weight"), ("lm_head", "lm_head.weight")]
            {
                if !saved.is_empty() && !saved.iter().any(|saved| stem.ends_with(saved)) {
                    continue;
                }
                let (shape, bytes) = matrix(name);
                let bytes = if zeros { vec![0; bytes.len()] } else { bytes };
                let of_layer = if saved.is_empty() { ".base_layer" } else { "" };
                tensors.push((format!("base_model.model.{stem}{of_layer}.weight"), shape, bytes));
            }
            if !saved.is_empty() {
                // The head of a task has no part in the states.
                tensors.push(("base_model.model.score.weight".to_owned(), vec![2, 32], vec![0; 256]));
                tensors.retain(|(name, ..)| !name.contains("lm_head.lora"));
            }
        })
    };
    let matrices = |adapter: &Path| {
        let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(adapter);
        let decoder = Model::load(origin, FloatFormat::F32, &device()).unwrap().decoder;
        [values(decoder.token_embedding()), values(decoder.own_head().unwrap())]
    };
    let plain = matrices(&fixture::folder("adapters/llama"));
    assert_eq!(matrices(copy(false, &[]).0.path()), plain);
    for saved in [&[][..], &["embed_tokens", "lm_head", "score"][..]] {
        for (zeroed, plain) in matrices(copy(true, saved).0.path()).iter().zip(&plain) {
            assert_ne!(zeroed, plain);
        }
    }
    let [_, head] = matrices(copy(true, &["lm_head"]).0.path());
    assert!(head.iter().all(|value| *value == 0.0));
}

#[test]
fn an_adapter_that_saves_one_of_two_tied_modules_separates_them() {
    let load = |origin| Model::load(origin, FloatFormat::F32, &device()).unwrap().decoder;
    let model = || Origin::of_folder(&fixture::folder("qwen2"));
    let plain = values(load(model()).token_embedding());
    for (saved, path) in [("embed_tokens", "model.embed_tokens"), ("lm_head", "lm_head")] {
        let copy = Copy::new()
            .with("target_modules", json!(["q_proj"]))
            .with("modules_to_save", json!([saved]))
            .with_tensors(|tensors| {
                tensors.retain(|(name, ..)| name.contains(".layers.0.self_attn.q_proj."));
                let name = format!("base_model.model.{path}.weight");
                tensors.push((name, vec![97, 32], vec![0; 4 * 97 * 32]));
            });
        let decoder = load(model().with_adapter(copy.0.path()));
        let [embedding, head] = [decoder.token_embedding(), decoder.own_head().unwrap()].map(values);
        let [replaced, kept] = if saved == "lm_head" { [head, embedding] } else { [embedding, head] };
        assert!(replaced.iter().all(|value| *value == 0.0), "{saved}");
        assert!(kept == plain, "{saved}");
    }
}

/// PEFT shares one saved matrix between tied modules, and writes it under both names.
#[test]
fn an_adapter_that_ensures_tied_weights_replaces_both_of_them() {
    let zeros = |head: f32| {
        let copy =
            Copy::new().with("ensure_weight_tying", json!(true)).with("target_modules", json!(["q_proj"]));
        copy.with("modules_to_save", json!(["embed_tokens"])).with_tensors(|tensors| {
            tensors.retain(|(name, ..)| name.contains(".layers.0.self_attn.q_proj."));
            for (stem, value) in [("model.embed_tokens", 0.0), ("lm_head", head)] {
                let bytes = f32::to_le_bytes(value).repeat(97 * 32);
                tensors.push((format!("base_model.model.{stem}.weight"), vec![97, 32], bytes));
            }
        })
    };
    let adapter = zeros(0.0);
    let origin = Origin::of_folder(&fixture::folder("qwen2")).with_adapter(adapter.0.path());
    let decoder = Model::load(origin, FloatFormat::F32, &device()).unwrap().decoder;
    assert!(values(decoder.token_embedding()).iter().all(|value| *value == 0.0));
    assert!(decoder.own_head().is_none());
    // Each has its own matrix if they are saved apart.
    let adapter = zeros(1.0);
    let origin = Origin::of_folder(&fixture::folder("qwen2")).with_adapter(adapter.0.path());
    let decoder = Model::load(origin, FloatFormat::F32, &device()).unwrap().decoder;
    assert!(values(decoder.token_embedding()).iter().all(|value| *value == 0.0));
    assert!(values(decoder.own_head().unwrap()).iter().all(|value| *value == 1.0));
}
