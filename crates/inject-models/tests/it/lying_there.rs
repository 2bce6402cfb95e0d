//! Checkpoints as they lie in folders: what loads, with which notes, and what is named in one line.

use std::fs;

use inject_models::{
    Evidence, FloatFormat, Logits, Model, ModelError, Note, Origin, Tap, TokenBatch, checkpoint::Instead,
};
use safetensors::Dtype;
use serde_json::json;

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
fn adapter_weights_among_the_others_are_refused() {
    let name = "model.layers.0.self_attn.q_proj.lora_A.default.weight";
    let checkpoint = llama().with_tensors(|tensors| {
        tensors.insert(name.to_owned(), Stored::f32(&[2, 32], 0.5));
    });
    let error = checkpoint.error(FILE, &[name, "merge it first"]);
    assert!(matches!(error, ModelError::Unmerged { .. }), "{error:?}");
}

#[test]
fn a_base_model_or_a_classifier_loads_without_a_head() {
    let base = renamed(|old| old.trim_start_matches("model.").to_owned()).with_tensors(|tensors| {
        tensors.remove("lm_head.weight").unwrap();
    });
    equals_llama(&base, &[Note::NoHead]);
    let classifier = llama().with_tensors(|tensors| {
        tensors.remove("lm_head.weight").unwrap();
        tensors.insert("score.weight".to_owned(), Stored::f32(&[2, 32], 0.5));
        tensors.insert("cls.output.weight".to_owned(), Stored::f32(&[2, 32], 0.5));
        let bytes = vec![0; 40];
        let ids = Stored { dtype: Dtype::I64, shape: vec![5], bytes };
        tensors.insert("model.embed_positions.position_ids".to_owned(), ids);
    });
    equals_llama(&classifier, &[Note::NoHead]);

    let model = classifier.load().unwrap();
    assert!(!model.decoder.has_head());
    let prompt = TokenBatch::new(&[[1, 5]]).unwrap();
    let error = model.decoder.forward(&prompt, &[], Logits::Last).unwrap_err();
    assert!(matches!(error, ModelError::NoHead), "{error:?}");
}

/// transformers does not tie what is stored with different values.
#[test]
fn a_stored_head_that_is_not_the_embedding_it_is_tied_to_is_used_and_noted() {
    let tied = || llama().with_key("tie_word_embeddings", true);
    equals_llama(&tied(), &[Note::OtherHead { tensor: "lm_head.weight".to_owned() }]);
    assert_eq!(logits(&tied().load().unwrap()), logits(&llama().load().unwrap()));
    let same = tied().with_tensors(|tensors| {
        let embedding = &tensors["model.embed_tokens.weight"];
        let copy =
            Stored { dtype: embedding.dtype, shape: embedding.shape.clone(), bytes: embedding.bytes.clone() };
        tensors.insert("lm_head.weight".to_owned(), copy);
    });
    equals_llama(&same, &[]);
}

/// safetensors' `save_model` writes one of several names that stand for the same tensor, and the head's name is its first choice.
#[test]
fn an_embedding_that_is_stored_as_its_tied_head_alone_is_read() {
    for (case, embedding) in [
        ("gpt2", "transformer.wte.weight"),
        ("gpt2-hub-names", "wte.weight"),
        ("qwen2", "model.embed_tokens.weight"),
        ("gemma3", "model.embed_tokens.weight"),
    ] {
        let head_alone = Checkpoint::copy_of(case).with_tensors(|tensors| {
            let table = tensors.remove(embedding).unwrap();
            tensors.insert("lm_head.weight".to_owned(), table);
        });
        let (found, expected) = (head_alone.load().unwrap(), Checkpoint::copy_of(case).load().unwrap());
        assert_eq!(found.notes(), [], "{case}");
        assert_eq!(state(&found), state(&expected), "{case}");
        assert_eq!(logits(&found), logits(&expected), "{case}");
    }
    // Where the two are not tied, the head says nothing about the embedding.
    let untied = llama().with_tensors(|tensors| {
        tensors.remove("model.embed_tokens.weight").unwrap();
    });
    untied.error(FILE, &["model.embed_tokens.weight"]);
}

#[test]
fn rows_beyond_the_vocabulary_are_named_as_such() {
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let checkpoint = llama().with_tensors(|tensors| {
            tensors.insert(name.to_owned(), Stored::f32(&[128, 32], 0.5));
        });
        let error =
            checkpoint.error(FILE, &[name, "has 128 rows", "vocab_size is 97", "set vocab_size to 128"]);
        assert!(
            matches!(error, ModelError::PaddedVocabulary { found: 128, vocab_size: 97, .. }),
            "{error:?}"
        );
    }
}

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
fn the_head_of_gpt_neox_is_read_by_both_of_its_names() {
    let published = Checkpoint::copy_of("gpt-neox");
    let renamed = Checkpoint::copy_of("gpt-neox").with_tensors(|tensors| {
        let head = tensors.remove("embed_out.weight").unwrap();
        tensors.insert("lm_head.weight".to_owned(), head);
    });
    let (found, expected) = (renamed.load().unwrap(), published.load().unwrap());
    assert_eq!(found.notes(), []);
    assert_eq!(logits(&found), logits(&expected));
    let tied =
        Checkpoint::copy_of("gpt-neox").with_key("tie_word_embeddings", true).with_tensors(|tensors| {
            let table = tensors.remove("gpt_neox.embed_in.weight").unwrap();
            tensors.remove("embed_out.weight").unwrap();
            tensors.insert("lm_head.weight".to_owned(), table);
        });
    assert_eq!(state(&tied.load().unwrap()), state(&expected));
}

#[test]
fn heads_of_rewards_and_buffers_of_rotations_have_no_part_in_the_states() {
    for case in ["llama", "gemma3", "gemma2", "gpt-neox", "phi4"] {
        let beside = Checkpoint::copy_of(case).with_tensors(|tensors| {
            let stored = || Stored::f32(&[1, 4], 0.5);
            for head in ["value_head", "regression_head", "rm_head", "v_head.summary", "reward_head"] {
                tensors.insert(format!("{head}.weight"), stored());
            }
            for buffer in ["cos_cached", "sin_cached", "inv_freq"] {
                tensors.insert(format!("model.layers.0.self_attn.rotary_emb.{buffer}"), stored());
            }
            for module in ["rotary_emb", "model.rotary_emb", "model.rotary_emb_local"] {
                tensors.insert(format!("{module}.inv_freq"), stored());
            }
        });
        assert_eq!(
            state(&beside.load().unwrap()),
            state(&Checkpoint::copy_of(case).load().unwrap()),
            "{case}"
        );
    }
    // Tensors that a wrong config leaves over are not passed over.
    for name in ["model.layers.3.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.bias"] {
        let checkpoint = llama().with_tensors(|tensors| {
            tensors.insert(name.to_owned(), Stored::f32(&[32], 0.5));
        });
        let error = checkpoint.error(FILE, &[name]);
        assert!(matches!(error, ModelError::SurplusTensor { .. }), "{error:?}");
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_not_bos() {
    for (found, expected) in [(96_i64, Some(96)), (97, None), (50_256, None), (-1, None), (1 << 40, None)] {
        let model = llama().with_key("bos_token_id", found).load().unwrap();
        assert_eq!(model.bos_token_id(), expected, "{found}");
        let note = Note::BosOutside { found, vocab_size: 97 };
        let notes: Vec<Note> = expected.is_none().then_some(note).into_iter().collect();
        assert_eq!(model.notes(), notes);
    }
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

/// The fixture with one matrix in another form.
fn quantised(parts: &[(&str, Dtype, &[usize])]) -> Checkpoint {
    let stem = "model.layers.0.self_attn.q_proj";
    llama().with_tensors(|tensors| {
        let size = |dtype| match dtype {
            Dtype::I32 | Dtype::U32 | Dtype::F32 => 4,
            _ => 1,
        };
        tensors.remove(&format!("{stem}.weight")).unwrap();
        for (part, dtype, shape) in parts {
            let bytes = vec![1; shape.iter().product::<usize>() * size(*dtype)];
            let stored = Stored { dtype: *dtype, shape: shape.to_vec(), bytes };
            tensors.insert(format!("{stem}.{part}"), stored);
        }
    })
}

#[test]
fn quantised_weights_are_named_by_method_and_bits() {
    let gptq: &[(&str, Dtype, &[usize])] = &[
        ("qweight", Dtype::I32, &[2, 32]),
        ("qzeros", Dtype::I32, &[1, 2]),
        ("scales", Dtype::F32, &[1, 32]),
        ("g_idx", Dtype::I32, &[32]),
    ];
    let mlx: &[(&str, Dtype, &[usize])] = &[
        ("weight", Dtype::U32, &[32, 4]),
        ("scales", Dtype::F32, &[32, 1]),
        ("biases", Dtype::F32, &[32, 1]),
    ];
    let packed: &[(&str, Dtype, &[usize])] = &[
        ("weight_packed", Dtype::I32, &[32, 4]),
        ("weight_scale", Dtype::F32, &[32, 1]),
        ("weight_shape", Dtype::I32, &[2]),
    ];
    let eight: &[(&str, Dtype, &[usize])] =
        &[("weight", Dtype::I8, &[32, 32]), ("weight_scale", Dtype::F32, &[32, 1])];
    // 64 groups of 16 weights, two in a byte.
    let hqq: &[(&str, Dtype, &[usize])] = &[("W_q", Dtype::U8, &[32, 16]), ("scale", Dtype::F32, &[64, 1])];
    let hqq_words: &[(&str, Dtype, &[usize])] =
        &[("W_q", Dtype::I32, &[7, 16]), ("scale", Dtype::F32, &[64, 1])];
    for (parts, config, says) in [
        (gptq, json!(null), "GPTQ, 2 bits"),
        (gptq, json!({"quant_method": "gptq", "bits": 2}), "GPTQ, 2 bits"),
        (mlx, json!(null), "MLX, 4 bits"),
        (packed, json!(null), "compressed-tensors, 4 bits"),
        (eight, json!(null), "compressed-tensors, 8 bits"),
        (hqq, json!(null), "HQQ, 4 bits"),
        (hqq_words, json!(null), "HQQ, 3 bits"),
        (hqq, json!({"quant_method": "hqq"}), "HQQ, 4 bits"),
        (
            hqq,
            json!({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 2}}}),
            "HQQ, 2 bits",
        ),
        (mlx, json!({"group_size": 64, "bits": 4}), "MLX, 4 bits"),
        (mlx, json!({"quant_method": "quanto", "bits": 8}), "quanto, 8 bits"),
    ] {
        let error = quantised(parts)
            .with_key("quantization_config", config)
            .error(FILE, &[says, "give the unquantised checkpoint"]);
        assert!(matches!(error, ModelError::Quantised { .. }), "{error:?}");
    }
    // The numbers of a layer's settings stand beside its codes as tensors.
    let named = quantised(hqq).with_tensors(|tensors| {
        let nbits = Stored { dtype: Dtype::I32, shape: vec![], bytes: vec![8, 0, 0, 0] };
        tensors.insert("model.layers.0.self_attn.q_proj.nbits".to_owned(), nbits);
    });
    named.error(FILE, &["HQQ, 8 bits"]);
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
