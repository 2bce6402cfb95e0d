//! Adapters that are refused.

use super::*;
use crate::malformed::gguf::with_texts;

#[test]
fn other_kinds_of_adapters_are_refused_by_name() {
    let refused = [
        ("peft_type", json!("LOHA")),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("init_lora_weights", json!("pissa")),
        ("unheard_of", json!({ "a": 1 })),
    ];
    for (key, value) in refused {
        Copy::new()
            .with(key, value)
            .refused(|error| matches!(error, AdapterError::Setting { key: found, .. } if found == key));
    }
}

#[test]
fn tensors_that_are_not_pairs_of_factors_are_refused() {
    let q_proj = "base_model.model.model.layers.0.self_attn.q_proj";
    for extra in ["lora_magnitude_vector", "lora_magnitude_vector.weight", "lora_B.bias", "bias"] {
        let name = format!("{q_proj}.{extra}");
        Copy::new()
            .with_tensors(|tensors| tensors.push((name.clone(), vec![1], vec![0; 4])))
            .refused(|error| matches!(error, AdapterError::UnknownTensor { tensor } if *tensor == name));
    }
    for extra in ["weight", "base_layer.weight"] {
        let name = format!("{q_proj}.{extra}");
        Copy::new()
            .with_tensors(|tensors| tensors.push((name.clone(), vec![1], vec![0; 4])))
            .refused(|error| matches!(error, AdapterError::OtherModel { tensor } if *tensor == name));
    }
    let missing = format!("{q_proj}.lora_B.weight");
    Copy::new()
        .with_tensors(|tensors| tensors.retain(|(name, ..)| *name != missing))
        .refused(|error| matches!(error, AdapterError::Unpaired { tensor } if *tensor == missing));
    Copy::new().with_tensors(Vec::clear).refused(|error| matches!(error, AdapterError::Empty));
    let copy = Copy::new();
    fs::remove_file(copy.path("adapter_model.safetensors")).unwrap();
    copy.refused(|error| matches!(error, AdapterError::NoWeights));
}

#[test]
fn faults_of_the_adapter_of_the_model_and_of_the_tokenizer_are_named_at_once() {
    let place = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "llama", "hidden_size": 0});
    fs::write(place.path().join("config.json"), config.to_string()).unwrap();
    let missing = |name: &str| place.path().join(name);
    let origin =
        Origin::of_folder(place.path()).with_adapter(&missing("adapter")).with_tokenizer(&missing("tokens"));
    let message = Model::load(origin, FloatFormat::F32, &device()).unwrap_err().to_string();
    for part in
        ["`hidden_size` is 0", "`vocab_size` is missing", "adapter_config.json", "does not exist", "tokens"]
    {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    // The weights and the adapter, of a model whose config is sound.
    fs::copy(fixture::folder("llama").join("config.json"), place.path().join("config.json")).unwrap();
    let origin = Origin::of_folder(place.path()).with_adapter(&missing("adapter"));
    let message = Model::load(origin, FloatFormat::F32, &device()).unwrap_err().to_string();
    for part in ["adapter_config.json", "model.safetensors"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let copy = Copy::new();
    let file = copy.path("adapter_model.safetensors");
    let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(&file);
    let error = Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err();
    let ModelError::Adapter { folder, source: AdapterError::File } = &error else { panic!("{error:?}") };
    assert_eq!(*folder, file);
    assert!(error.source().unwrap().to_string().contains("give the folder"));
}

#[test]
fn a_lora_in_gguf_and_other_files_are_named() {
    let lora = with_texts(&[("general.type", "adapter"), ("adapter.type", "lora")]);
    let (folder, model) = (tempfile::tempdir().unwrap(), with_texts(&[]));
    for (bytes, says) in [(lora, "GGUF file of a LoRA adapter"), (model, "GGUF file of a model")] {
        let file = folder.path().join("file.gguf");
        fs::write(&file, bytes).unwrap();
        // By itself, or alone in a folder.
        for place in [file.as_path(), folder.path()] {
            let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(place);
            let error = Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err();
            let ModelError::Adapter { source, .. } = &error else { panic!("{error:?}") };
            assert!(matches!(source, AdapterError::Gguf { .. }), "{source:?}");
            let text = source.to_string();
            assert!(
                text.contains(says) && text.contains("give the folder with adapter_config.json"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_place_without_an_adapter_is_named() {
    let error = |place: &Path| {
        let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(place);
        match Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err() {
            ModelError::Adapter { source, .. } => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error(&fixture::folder("gpt2")), AdapterError::Model));
    assert!(matches!(error(Path::new("no/such/folder")), AdapterError::Missing));
}

#[test]
fn a_folder_of_the_hubs_cache_stands_for_its_adapter() {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--owner--adapter");
    let snapshot = repository.join("snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(fixture::folder("adapters/llama").join(name), snapshot.join(name)).unwrap();
    }
    let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(&repository);
    let model = Model::load(origin, FloatFormat::F32, &device()).unwrap();
    assert_eq!(model.origin().id, "llama + owner/adapter");
}

#[test]
fn a_folder_of_folders_says_which_to_give() {
    let place = tempfile::tempdir().unwrap();
    for (folders, says) in [
        (&["run/checkpoint-900", "run/checkpoint-1000"][..], "such as the last, checkpoint-1000"),
        (
            &["hub/models--o--a/snapshots/01", "hub/models--o--a/snapshots/23"],
            "give the path of one of its models: models--o--a",
        ),
        (&["models--o--b/snapshots/01", "models--o--b/snapshots/23"], "one of its snapshots: 01, 23"),
    ] {
        for folder in folders {
            fs::create_dir_all(place.path().join(folder)).unwrap();
            fs::write(place.path().join(folder).join("adapter_config.json"), "{}").unwrap();
        }
        let folder = place.path().join(folders[0].split('/').next().unwrap());
        let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(&folder);
        let error = Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err();
        let ModelError::Adapter { source: AdapterError::Instead(_), .. } = &error else {
            panic!("{error:?}")
        };
        assert!(error.source().unwrap().to_string().contains(says), "{says}");
    }
}

#[test]
fn a_folder_of_several_adapters_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["second", "first"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("adapter_config.json"), "{}").unwrap();
    }
    let origin = Origin::of_folder(&fixture::folder("llama")).with_adapter(folder.path());
    let error = Model::load(origin, FloatFormat::F32, &device()).map(|_| ()).unwrap_err();
    let ModelError::Adapter { source: AdapterError::Folders { folders }, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*folders, ["first", "second"]);
}

#[test]
fn modules_that_the_model_does_not_have_are_named() {
    for module in ["model.layers.7.self_attn.q_proj", "model.layers.0.self_attn.c_attn", "score"] {
        let rename = |tensors: &mut Vec<Tensor>| {
            for (name, ..) in tensors.iter_mut() {
                *name = name.replace("model.layers.0.self_attn.q_proj", module);
            }
        };
        let targets = json!(["q_proj", "c_attn", "score"]);
        Copy::new().with("target_modules", targets).with_tensors(rename).refused(
            |error| matches!(error, AdapterError::UnknownModule { module: found, .. } if found == module),
        );
    }
}

#[test]
fn shapes_follow_from_the_rank_and_the_modules_from_the_model() {
    let shape = |copy: Copy| match copy.error() {
        ModelError::TensorShape { tensor, found, expected, .. } => (tensor, found, expected),
        other => panic!("{other:?}"),
    };
    let (tensor, found, expected) = shape(Copy::new().with("r", json!(5)));
    assert!(tensor.ends_with("lm_head.lora_A.weight"), "{tensor}");
    assert_eq!((found, expected), (vec![4, 32], vec![5, 32]));
    let error = Copy::new().error_on(&fixture::folder("gpt-neox"));
    assert!(
        matches!(&error, ModelError::Adapter { source: AdapterError::UnknownModule { .. }, .. }),
        "{error:?}"
    );
}

#[test]
fn a_factor_that_is_not_finite_is_refused() {
    let copy = Copy::new().with_tensors(|tensors| {
        tensors[0].2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(matches!(copy.error(), ModelError::NotFinite { element: 0, .. }));
}
