//! Heads and embeddings: missing, of other names, and tied ones that differ.

use super::*;

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

/// transformers renames all of these for the text part of a multimodal file.
#[test]
fn the_text_part_of_gemma3_is_read_by_all_of_its_names() {
    const PUBLISHED: &str = "language_model.model.";
    let of = |prefix: &str, head: &str| {
        Checkpoint::copy_of("gemma3-multimodal").with_key("tie_word_embeddings", false).with_tensors(
            |tensors| {
                let of_text = |name: String| name.replacen(PUBLISHED, prefix, 1);
                let mut renamed: std::collections::BTreeMap<_, _> = std::mem::take(tensors)
                    .into_iter()
                    .map(|(name, tensor)| (of_text(name), tensor))
                    .collect();
                let shape = renamed[&format!("{prefix}embed_tokens.weight")].shape.clone();
                renamed.insert(head.to_owned(), Stored::f32(&shape, 0.5));
                *tensors = renamed;
            },
        )
    };
    let expected = of(PUBLISHED, "lm_head.weight").load().unwrap();
    for (prefix, head) in [
        ("model.language_model.", "lm_head.weight"),
        ("language_model.", "language_model.lm_head.weight"),
        ("language_model.", "lm_head.weight"),
        ("model.language_model.model.", "lm_head.weight"),
        ("language_model.model.model.", "lm_head.weight"),
        (PUBLISHED, "language_model.lm_head.weight"),
    ] {
        let found = of(prefix, head).load().unwrap();
        assert_eq!(found.notes(), expected.notes(), "{prefix} {head}");
        assert_eq!((state(&found), logits(&found)), (state(&expected), logits(&expected)), "{prefix} {head}");
    }
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
