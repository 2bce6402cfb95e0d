//! Sizes and lengths.

use super::*;

#[test]
fn a_size_of_zero_is_refused() {
    for (case, name) in [
        ("gpt2", "n_head"),
        ("gpt-neo", "window_size"),
        ("llama", "num_hidden_layers"),
        ("mistral", "sliding_window"),
        ("gemma3", "head_dim"),
        ("phi4", "num_key_value_heads"),
    ] {
        Checkpoint::copy_of(case).with_key(name, 0).bad_key(name, "0", " from 1 to");
    }
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_allocated() {
    let absurd = ABSURD.to_string();
    for (case, name) in [
        ("gpt2", "n_layer"),
        ("gpt2", "n_positions"),
        ("gpt-neo", "num_layers"),
        ("llama", "num_hidden_layers"),
        ("llama", "vocab_size"),
        ("mistral", "num_attention_heads"),
        ("gemma3", "head_dim"),
        ("phi4", "intermediate_size"),
    ] {
        Checkpoint::copy_of(case).with_key(name, ABSURD).bad_key(name, &absurd, "a size from 1 to");
    }
    let too_deep = Checkpoint::copy_of("llama").with_key("num_hidden_layers", 100_000);
    too_deep.bad_key("num_hidden_layers", "100000", "at most 4096 layers");
}

#[test]
fn the_largest_sizes_let_through_are_compared_with_the_weights_before_anything_is_allocated() {
    let largest = 1 << 24;
    for name in ["vocab_size", "hidden_size"] {
        let error = Checkpoint::copy_of("llama")
            .with_key(name, largest)
            .error("model.safetensors", &["`model.embed_tokens.weight`", "[97, 32]", "16777216"]);
        assert!(matches!(error, ModelError::TensorShape { .. } | ModelError::Tensors { .. }), "{error:?}");
    }
    let error = Checkpoint::copy_of("llama")
        .with_key("num_attention_heads", largest)
        .with_key("head_dim", largest)
        .error("model.safetensors", &["q_proj.weight`", "[32, 32]", "[281474976710656, 32]"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

/// A rotary model has no table of positions, so a large number of them is bookkeeping.
#[test]
fn a_length_that_no_tensor_has_may_be_large() {
    let large = 1_u64 << 40;
    for case in
        ["llama", "mistral", "gemma3", "gemma2", "phi3", "qwen2", "qwen3", "gpt-neox", "smollm3", "olmo2"]
    {
        let known = Checkpoint::copy_of(case).load().unwrap();
        let model = Checkpoint::copy_of(case).with_key("max_position_embeddings", large).load().unwrap();
        assert_eq!(model.decoder.config(), known.decoder.config(), "{case}");
    }
    let window = Checkpoint::copy_of("mistral-full").with_key("sliding_window", large).load().unwrap();
    let prompt = TokenBatch::new(&[[3, 1, 4, 1, 5, 9]]).unwrap();
    window.decoder.forward(&prompt, &[Tap::FinalNorm], Logits::None).unwrap();
    let beyond = Checkpoint::copy_of("llama").with_key("max_position_embeddings", (1_u64 << 53) + 2);
    beyond.bad_key("max_position_embeddings", "9007199254740994", "a length from 1 to 9007199254740992");
    // Here the number is that of the rows of a tensor.
    Checkpoint::copy_of("gpt2").with_key("n_positions", large).bad_key(
        "n_positions",
        &large.to_string(),
        "a size",
    );
    Checkpoint::copy_of("gpt2").with_key("n_positions", 60).error("model.safetensors", &["wpe.weight", "60"]);
}

/// The first Llama has `max_sequence_length` in its place, which nobody reads.
#[test]
fn a_missing_length_is_that_of_the_reference() {
    for case in ["llama", "mistral", "phi3"] {
        let expected = Checkpoint::copy_of(case).load().unwrap();
        let found = Checkpoint::copy_of(case).without_key("max_position_embeddings").load().unwrap();
        assert_eq!(found.decoder.config(), expected.decoder.config(), "{case}");
    }
}

#[test]
fn key_value_heads_that_do_not_divide_the_heads_are_refused() {
    let checkpoint = Checkpoint::copy_of("llama").with_key("num_key_value_heads", 3);
    checkpoint.bad_key("num_key_value_heads", "3", "a divisor of the 4 heads");
}

#[test]
fn heads_that_do_not_split_the_width_evenly_are_refused() {
    let checkpoint = Checkpoint::copy_of("gpt2").with_key("n_head", 5);
    checkpoint.bad_key("n_embd", "24", "a multiple of the 5 heads");
    let checkpoint = Checkpoint::copy_of("gpt-neo").with_key("num_heads", 5);
    checkpoint.bad_key("hidden_size", "24", "a multiple of the 5 heads");
    let checkpoint = Checkpoint::copy_of("llama3-scaling").with_key("num_attention_heads", 5);
    checkpoint.bad_key("hidden_size", "32", "a multiple of the 5 heads");
}

#[test]
fn a_norm_or_scale_that_is_not_positive_is_refused() {
    let eps = |eps: f64| Checkpoint::copy_of("llama").with_key("rms_norm_eps", eps);
    eps(-1e-6).bad_key("rms_norm_eps", "-1e-6", "a number from 0 on");
    // transformers computes with 0 too.
    let model = eps(0.0).load().unwrap();
    assert!(matches!(model.decoder.config().final_norm, NormConfig::Rms { eps: 0.0, .. }));
    let scale = Checkpoint::copy_of("gemma3").with_key("query_pre_attn_scalar", -3.0);
    scale.bad_key("query_pre_attn_scalar", "-3.0", "a positive number");
}

#[test]
fn heads_whose_coordinates_do_not_form_pairs_are_refused() {
    for case in ["llama", "qwen2", "gemma3", "olmo2"] {
        let checkpoint = Checkpoint::copy_of(case).with_key("head_dim", 5);
        let error = checkpoint.load().map(|_| ()).expect_err("it loads").to_string();
        assert!(error.contains("`head_dim` is 5, expected an even number"), "{case}: {error}");
    }
}
