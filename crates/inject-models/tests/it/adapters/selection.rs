//! The modules that the settings select: those that PEFT changes, and no others.

use std::collections::BTreeMap;

use super::*;
use inject_models::Note;

/// The weights in F32, by name.
fn weights(origin: Origin) -> BTreeMap<String, Vec<u8>> {
    let model = Model::load(origin, FloatFormat::F32, &device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

fn on_llama(adapter: &Path) -> Origin {
    Origin::of_folder(&fixture::folder("llama")).with_adapter(adapter)
}

fn notes(adapter: &Copy) -> Vec<Note> {
    Model::load(on_llama(adapter.0.path()), FloatFormat::F32, &device()).unwrap().notes().to_vec()
}

/// `selections.json` has settings, and the matrices that PEFT changes with them. All factors are in the file each time.
#[test]
fn the_modules_that_peft_selects_change_and_no_others() {
    let text = fs::read(fixture::folder("adapters").join("selections.json")).unwrap();
    let cases: Vec<(BTreeMap<String, Value>, Option<Vec<String>>)> = serde_json::from_slice(&text).unwrap();
    assert!(cases.len() > 20);
    let plain = weights(Origin::of_folder(&fixture::folder("llama")));
    let all = weights(on_llama(&fixture::folder("adapters/llama")));
    for (settings, expected) in cases {
        let copy = settings.iter().fold(Copy::new(), |copy, (key, value)| copy.with(key, value.clone()));
        let Some(expected) = expected else {
            copy.refused(|error| {
                matches!(error, AdapterError::NothingSelected { .. } | AdapterError::Setting { .. })
            });
            continue;
        };
        let found = weights(on_llama(copy.0.path()));
        for (name, values) in &found {
            let merged = if expected.contains(name) { &all } else { &plain };
            assert!(*values == merged[name], "{settings:?}: {name}");
        }
        let passed_over = !expected.is_empty() && expected.len() < 14;
        let noted = notes(&copy).iter().any(|note| matches!(note, Note::UnselectedModules { .. }));
        assert_eq!(noted, passed_over, "{settings:?}");
    }
}

#[test]
fn modules_that_are_passed_over_are_noted() {
    let copy = Copy::new().with("target_modules", json!(["q_proj", "v_proj", "gate_proj", "down_proj"]));
    let modules = ["lm_head", "model.embed_tokens"].map(str::to_owned).to_vec();
    assert_eq!(notes(&copy), [Note::UnselectedModules { modules }]);
    assert!(notes(&Copy::new()).is_empty());
}

#[test]
fn settings_of_the_choice_that_peft_does_not_take_are_refused_by_name() {
    for (key, value) in [
        ("target_modules", json!(null)),
        ("target_modules", json!({ "q_proj": 1 })),
        ("target_modules", json!(["q_proj", 1])),
        ("exclude_modules", json!(3)),
        ("modules_to_save", json!("lm_head")),
        ("layers_to_transform", json!("0")),
        ("layers_to_transform", json!([0.5])),
        ("layers_pattern", json!("layers")),
    ] {
        Copy::new()
            .with(key, value)
            .refused(|error| matches!(error, AdapterError::Setting { key: found, .. } if found == key));
    }
    for pattern in ["(.*", "(?P<n>.)(?P=m)"] {
        Copy::new().with("target_modules", json!(pattern)).refused(
            |error| matches!(error, AdapterError::Pattern { key: "target_modules", pattern: found, .. } if found == pattern),
        );
    }
}

#[test]
fn an_expression_that_takes_too_many_steps_is_refused() {
    // A back-reference, because expressions without it take few steps by construction.
    Copy::new()
        .with("target_modules", json!(r"((.+)+)+\2!"))
        .refused(|error| matches!(error, AdapterError::Pattern { key: "target_modules", .. }));
}

/// The names that the tensors have in the `state_dict` of a model with an adapter.
fn named(adapter: &str) -> impl Fn(&mut Vec<Tensor>) {
    move |tensors| {
        for (name, ..) in tensors.iter_mut() {
            *name = match name.strip_suffix(".weight") {
                Some(stem) => format!("{stem}.{adapter}.weight"),
                None => format!("{name}.{adapter}"),
            };
        }
    }
}

#[test]
fn the_name_of_the_adapter_may_be_in_the_names_of_its_tensors() {
    let expected = weights(on_llama(&fixture::folder("adapters/llama")));
    for adapter in ["default", "mine"] {
        let copy = Copy::new().with_tensors(named(adapter));
        assert!(weights(on_llama(copy.0.path())) == expected, "{adapter}");
    }
    let two = |tensors: &mut Vec<Tensor>| {
        let mut others = tensors.clone();
        named("first")(tensors);
        named("second")(&mut others);
        tensors.extend(others);
    };
    Copy::new().with_tensors(two).refused(
        |error| matches!(error, AdapterError::SeveralAdapters { adapters } if *adapters == ["first", "second"]),
    );
    let partly = |tensors: &mut Vec<Tensor>| {
        let mut others = tensors.split_off(4);
        named("mine")(&mut others);
        tensors.extend(others);
    };
    Copy::new()
        .with_tensors(partly)
        .refused(|error| matches!(error, AdapterError::SeveralAdapters { adapters } if adapters.len() == 2));
}

/// The tensors of the model beside the factors, as `torch.save(model.state_dict())` writes them.
fn whole(change: impl Fn(&str, &mut Vec<u8>)) -> Copy {
    Copy::new().with_tensors(|tensors| {
        named("default")(tensors);
        let bytes = fs::read(fixture::folder("llama/model.safetensors")).unwrap();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let stem = format!("base_model.model.{}", name.strip_suffix(".weight").unwrap());
            let within = format!("{stem}.lora_");
            let wrapped = tensors.iter().any(|(name, ..)| name.starts_with(&within));
            let layer = if wrapped { ".base_layer" } else { "" };
            let mut values = view.data().to_vec();
            change(name, &mut values);
            tensors.push((format!("{stem}{layer}.weight"), view.shape().to_vec(), values));
        }
    })
}

#[test]
fn a_state_dict_of_model_and_adapter_is_an_adapter_of_this_model() {
    let expected = weights(on_llama(&fixture::folder("adapters/llama")));
    assert!(weights(on_llama(whole(|_, _| {}).0.path())) == expected);
    for other in ["model.layers.0.self_attn.q_proj.weight", "model.norm.weight"] {
        let copy = whole(|name, values| values[3] ^= u8::from(name == other));
        let end = other.trim_end_matches("weight");
        copy.refused(|error| matches!(error, AdapterError::OtherModel { tensor } if tensor.contains(end)));
    }
    // Embedding and head take the place of the model's own, as those of `modules_to_save` do.
    let copy = whole(|name, values| {
        if name == "lm_head.weight" {
            values.fill(0);
        }
    });
    assert!(weights(on_llama(copy.0.path()))["lm_head.weight"] != expected["lm_head.weight"]);
}

#[test]
fn a_module_that_is_saved_has_no_factors() {
    let copy = |name: &'static str| {
        Copy::new().with("modules_to_save", json!(["lm_head"])).with_tensors(|tensors| {
            if name.contains("default") {
                named("default")(tensors);
                let original = "base_model.model.lm_head.original_module.weight".to_owned();
                tensors.push((original, vec![97, 32], vec![1; 4 * 97 * 32]));
            }
            tensors.push((name.to_owned(), vec![97, 32], vec![0; 4 * 97 * 32]));
        })
    };
    for name in ["base_model.model.lm_head.weight", "base_model.model.lm_head.modules_to_save.default.weight"]
    {
        let copy = copy(name);
        assert!(weights(on_llama(copy.0.path()))["lm_head.weight"].iter().all(|byte| *byte == 0));
        assert_eq!(notes(&copy), [Note::UnselectedModules { modules: vec!["lm_head".to_owned()] }]);
    }
}
