//! Folders that hold something other than a checkpoint.

use super::*;

#[test]
fn a_git_lfs_pointer_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n";
    let says = ["Git LFS pointer", "git lfs pull"];
    for file in ["config.json", FILE] {
        let error = llama().with_file(file, pointer).error(file, &says);
        assert!(matches!(error, ModelError::LfsPointer { .. }), "{error:?}");
    }
    let file = "tokenizer.json";
    let error = llama().with_file(file, pointer).tokenizer_error(file, &says);
    assert!(matches!(*error, ModelError::LfsPointer { .. }), "{error:?}");
    let error = only(&[("model.gguf", pointer)]);
    assert!(matches!(&error, ModelError::LfsPointer { path } if path.ends_with("model.gguf")), "{error:?}");
}

/// A folder with these files and nothing else.
fn only(files: &[(&str, &str)]) -> ModelError {
    let mut checkpoint = llama().without_file("config.json").without_file(FILE);
    for (name, text) in files {
        checkpoint = checkpoint.with_file(name, text);
    }
    checkpoint.error("", &[])
}

#[test]
fn what_a_folder_holds_in_the_place_of_a_checkpoint_is_named() {
    let adapter = r#"{"peft_type": "LORA", "base_model_name_or_path": "owner/base"}"#;
    for (files, says) in [
        (
            &[("adapter_config.json", adapter), ("adapter_model.safetensors", "")][..],
            "an adapter for `owner/base`",
        ),
        (&[("params.json", "{}"), ("consolidated.00.pth", "")], "the format of the original release"),
    ] {
        let error = only(files);
        assert!(matches!(error, ModelError::Instead { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains('\n'), "{text}");
    }
    for (file, says) in [
        ("model.fp16.safetensors", "weights under other names"),
        ("model-00001-of-00002.safetensors", "put model.safetensors.index.json of the same checkpoint"),
        ("pytorch_model-00001-of-00002.bin", "put pytorch_model.bin.index.json of the same checkpoint"),
        ("tf_model.h5", "tf_model.h5, weights for another framework"),
    ] {
        let error = llama().without_file(FILE).with_file(file, "").error("", &[says]);
        assert!(matches!(error, ModelError::Instead { .. }), "{error:?}");
    }
    let openvino = llama().without_file(FILE).with_file("openvino_model.xml", "");
    let openvino = openvino.with_file("openvino_model.bin", "");
    openvino.error("", &["holds openvino_model.bin, weights for another framework"]);
    let exported = llama().without_file(FILE);
    fs::create_dir(exported.path("onnx")).unwrap();
    let exported = exported.with_file("onnx/model.onnx", "");
    exported.error("", &["holds onnx/model.onnx, weights for another framework"]);
}

/// The Hub's cache holds links, and a download may end before the file that one leads to is there.
#[cfg(unix)]
#[test]
fn a_link_to_no_file_is_named() {
    let checkpoint = llama().without_file(FILE);
    std::os::unix::fs::symlink("../../blobs/0123", checkpoint.path(FILE)).unwrap();
    checkpoint.error("", &["links to files that do not exist", FILE]);
}

#[test]
fn an_adapter_beside_the_model_is_noted() {
    let beside = llama().with_file("adapter_config.json", r#"{"base_model_name_or_path": "owner/base"}"#);
    equals_llama(&beside, &[Note::AdapterBeside { base: Some("owner/base".to_owned()) }]);
}

#[test]
fn an_adapter_beside_a_gguf_file_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    fs::copy(fixture::folder("gguf/llama.gguf"), &file).unwrap();
    fs::write(folder.path().join("adapter_config.json"), r#"{"base_model_name_or_path": "owner/base"}"#)
        .unwrap();
    for place in [folder.path(), &file] {
        let model =
            Model::load(Origin::of_folder(place), FloatFormat::F32, &inject_testing::any_device()).unwrap();
        assert!(model.notes().contains(&Note::AdapterBeside { base: Some("owner/base".to_owned()) }));
    }
}

#[test]
fn weights_of_an_adapter_without_its_settings_are_named() {
    let error = only(&[("adapter_model.safetensors", "")]);
    assert!(
        matches!(&error, ModelError::Instead { found: Instead::Adapter { base: None }, .. }),
        "{error:?}"
    );
}

#[test]
fn a_folder_of_the_hubs_cache_stands_for_its_snapshot() {
    let cache = tempfile::tempdir().unwrap();
    let repo = cache.path().join("models--owner--name");
    let snapshot = |commit: &str| {
        let folder = repo.join("snapshots").join(commit);
        fs::create_dir_all(&folder).unwrap();
        for file in ["config.json", FILE] {
            fs::copy(fixture::folder("llama").join(file), folder.join(file)).unwrap();
        }
        folder
    };
    let first = snapshot("0123");
    // The only snapshot stands for all.
    assert_eq!(Origin::of_folder(&repo).folder, first);
    let second = snapshot("4567");
    assert_eq!(Origin::of_folder(&repo).folder, repo);
    fs::create_dir(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), "4567").unwrap();
    let origin = Origin::of_folder(&repo);
    assert_eq!((origin.id.as_str(), origin.revision.as_deref()), ("owner/name", Some("4567")));
    assert_eq!(origin.folder, second);
    Model::load(origin, FloatFormat::F32, &inject_testing::any_device()).unwrap();

    let error = Model::load(Origin::of_folder(cache.path()), FloatFormat::F32, &inject_testing::any_device());
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("give the path of one of its models: models--owner--name"), "{text}");

    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("hub/models--owner--name")).unwrap();
    let error = Model::load(Origin::of_folder(home.path()), FloatFormat::F32, &inject_testing::any_device());
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("give the path of one of its models: hub/models--owner--name"), "{text}");

    // The folder of the snapshots does not say which.
    let snapshots = repo.join("snapshots");
    let error = Model::load(Origin::of_folder(&snapshots), FloatFormat::F32, &inject_testing::any_device());
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("give the path of one of its snapshots: 0123, 4567"), "{text}");

    // A ref that leads out of the folder is not followed.
    fs::write(repo.join("refs/main"), "../../..").unwrap();
    assert_eq!(Origin::of_folder(&repo).folder, repo);
    let error = Model::load(Origin::of_folder(&repo), FloatFormat::F32, &inject_testing::any_device());
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("give the path of one of its snapshots: 0123, 4567"), "{text}");
}

#[test]
fn an_empty_snapshot_stands_for_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let repo = cache.path().join("models--owner--name");
    let snapshots = ["0123", "4567"].map(|commit| repo.join("snapshots").join(commit));
    for folder in &snapshots {
        fs::create_dir_all(folder).unwrap();
    }
    assert_eq!(Origin::of_folder(&repo).folder, repo);
    fs::write(snapshots[1].join("config.json"), "{}").unwrap();
    assert_eq!(Origin::of_folder(&repo).folder, snapshots[1]);
}

#[test]
fn a_model_in_the_parts_of_its_training_is_named() {
    let deepspeed = "deepspeed.utils.zero_to_fp32 . OUT";
    for (names, says) in [
        (&["zero_to_fp32.py", "latest"][..], "python zero_to_fp32.py . OUT"),
        (
            &["bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt"],
            deepspeed,
        ),
        (&["global_step5/", "latest"], deepspeed),
        (
            &["pytorch_model_fsdp_0/", "sampler.bin", "optimizer_0/"],
            "accelerate merge-weights pytorch_model_fsdp_0 OUT",
        ),
        (&["pytorch_model_fsdp_rank0.bin", "pytorch_model_fsdp_rank1.bin"], "FULL_STATE_DICT"),
        (&["pytorch_model_fsdp_1_rank0.bin"], "FULL_STATE_DICT"),
        (&["rank0-of-2-pytorch_model.bin"], "consolidate_sharded_ckpts"),
        (&["mp_rank_00/"], "Megatron"),
        (&["__0_0.distcp", ".metadata"], "format_utils dcp_to_torch . pytorch_model.bin"),
        (
            &[
                "extra_state_world_size_2_rank_0.pt",
                "model_world_size_2_rank_0.pt",
                "model_world_size_2_rank_1.pt",
            ],
            "verl.model_merger",
        ),
        (&["model-rank0.pt", "model-rank1.pt"], "as many processes as saved them"),
        // Of Lightning.
        (&["__0_0.distcp", "meta.pt"], "format_utils dcp_to_torch . pytorch_model.bin"),
    ] {
        for config in [true, false] {
            let mut parts = llama()
                .without_file(FILE)
                .with_file("rng_state_0.pth", "")
                .with_file("training_args.bin", "");
            for name in names {
                parts = match name.strip_suffix('/') {
                    Some(folder) => {
                        fs::create_dir(parts.path(folder)).unwrap();
                        parts
                    }
                    None => parts.with_file(name, ""),
                };
            }
            let parts = if config { parts } else { parts.without_file("config.json") };
            let error = parts.error("", &[names[0].trim_end_matches('/'), says, "put config.json"]);
            assert!(matches!(error, ModelError::Instead { found: Instead::Divided { .. }, .. }), "{error:?}");
        }
    }
}

#[test]
fn weights_beside_the_parts_of_a_training_are_read_or_named_alone() {
    let parts = || llama().with_file("zero_to_fp32.py", "").with_file("a_model_states.pt", "");
    equals_llama(&parts(), &[]);
    let error = parts()
        .without_file(FILE)
        .with_file("whole.bin", "")
        .error("", &["weights under other names", "whole.bin"]);
    assert!(!error.to_string().contains("a_model_states"), "{error}");
}

#[test]
fn the_index_of_a_variant_is_named_with_the_name_to_give_it() {
    for (variant, expected) in [
        ("model.safetensors.index.fp16.json", "model.safetensors.index.json"),
        ("pytorch_model.bin.index.fp16.json", "pytorch_model.bin.index.json"),
    ] {
        let shard = format!("{}.fp16-00001-of-00002.safetensors", variant.split('.').next().unwrap());
        let folder = llama().without_file(FILE).with_file(&shard, "").with_file(variant, "{}");
        let error = folder.error("", &[&format!("call their index, {variant}, {expected}")]);
        assert!(matches!(error, ModelError::Instead { found: Instead::Variant { .. }, .. }), "{error:?}");
    }
}

#[test]
fn a_file_of_another_format_than_its_name_says_is_named() {
    let fixture = |path: &str| fs::read(fixture::folder(path)).unwrap();
    let pickled = fixture("gpt-neo-bin/pytorch_model.bin");
    let older = fixture("pickled/neg-old.bin");
    let safetensors = fixture("llama/model.safetensors");
    for (file, contents, says) in [
        (FILE, &pickled[..], "is a PyTorch file: call it pytorch_model.bin"),
        (FILE, &older, "is a PyTorch file"),
        ("pytorch_model.bin", &safetensors, "is a safetensors file: call it model.safetensors"),
        ("pytorch_model.bin", b"GGUF\x03\0\0\0", "is a GGUF file"),
        (FILE, b"\x1f\x8b\x08\0\0\0\0\0\0\0", "is compressed: unpack it"),
        (FILE, b"<!DOCTYPE html>", "download it again"),
        ("pytorch_model.bin", b"<html></html>", "download it again"),
    ] {
        let error = llama().without_file(FILE).with_file(file, contents).error(file, &[says]);
        assert!(matches!(error, ModelError::OtherFormat { .. }), "{error:?}");
    }
    // Damaged files of the format itself.
    let short = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    for (file, contents) in [(FILE, short(&safetensors)), ("pytorch_model.bin", short(&pickled))] {
        let error = llama().without_file(FILE).with_file(file, contents).error(file, &[]);
        assert!(matches!(error, ModelError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn the_folder_of_a_training_run_is_named_with_its_last_checkpoint() {
    let run = llama().without_file("config.json").without_file(FILE);
    for step in ["checkpoint-1000", "checkpoint-200", "checkpoint-3000-old", "checkpoint-4000"] {
        fs::create_dir(run.path(step)).unwrap();
    }
    for step in ["checkpoint-1000", "checkpoint-200", "checkpoint-3000-old"] {
        fs::write(run.path(step).join("config.json"), "{}").unwrap();
    }
    let error = run.error("", &["the checkpoints of a training run", "the last, checkpoint-1000"]);
    let folders = ["checkpoint-200", "checkpoint-1000"].map(str::to_owned).to_vec();
    assert!(
        matches!(&error, ModelError::Instead { found: Instead::Checkpoints { folders: found }, .. } if *found == folders),
        "{error:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_config_that_leads_nowhere_is_named() {
    let checkpoint = llama().without_file("config.json");
    std::os::unix::fs::symlink("../../blobs/0123", checkpoint.path("config.json")).unwrap();
    let says = ["holds links to files that do not exist: download the model again: config.json"];
    let error = checkpoint.error("", &says);
    assert!(matches!(error, ModelError::Instead { found: Instead::BrokenLinks { .. }, .. }), "{error:?}");
}
