//! What the decoder refuses to compute, and says why.

use inject_models::{Decoder, Logits, ModelError, Precision, Tap, TapError, TokenBatch};

use super::{VOCAB_SIZE, batch, sequence};
use crate::fixture;

fn on_every_device(case: &str, check: impl Fn(&Decoder)) {
    for device in inject_testing::compiled() {
        check(&fixture::load(case, Precision::F32, &device).decoder);
    }
}

/// Runs a check over one model of each family.
fn for_each_family(check: impl Fn(&Decoder)) {
    for case in fixture::ONE_PER_FAMILY {
        on_every_device(case, &check);
    }
}

fn forward(decoder: &Decoder, prompts: &[Vec<u32>]) -> Result<(), ModelError> {
    decoder.forward(&batch(prompts), &[Tap::FinalNorm], Logits::None).map(|_| ())
}

#[test]
fn a_token_outside_the_vocabulary_is_named() {
    for_each_family(|decoder| {
        let error = forward(decoder, &[vec![1, 2, 3], vec![4, VOCAB_SIZE]]).unwrap_err();
        assert!(
            matches!(error, ModelError::TokenId { prompt: 1, position: 1, found: 97, vocab_size: 97 }),
            "{error:?}"
        );
        assert_eq!(error.to_string(), "prompt 1, position 1: token id 97, expected ids below vocab_size 97");

        let mut cache = decoder.prefix_cache(1, 8, Tap::Block(1)).unwrap();
        let error = decoder.extend(&mut cache, &batch(&[[u32::MAX]]), &[], Logits::None).unwrap_err();
        assert!(matches!(error, ModelError::TokenId { found: u32::MAX, .. }), "{error:?}");
        assert!(cache.is_empty());
        let error = decoder.candidates(&cache, &[3, 97], Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::TokenId { position: 1, found: 97, .. }), "{error:?}");
    });
}

#[test]
fn a_sequence_beyond_the_learned_positions_is_refused() {
    for case in ["gpt2", "gpt-neo"] {
        on_every_device(case, |decoder| {
            forward(decoder, &[sequence(1, 48)]).unwrap();
            let error = forward(decoder, &[sequence(1, 49), sequence(2, 3)]).unwrap_err();
            assert!(matches!(error, ModelError::TooLong { found: 49, max_len: 48 }), "{error:?}");
            let error = decoder.prefix_cache(1, 49, Tap::Block(1)).unwrap_err();
            assert!(matches!(error, ModelError::TooLong { found: 49, max_len: 48 }), "{error:?}");
        });
    }
}

#[test]
fn a_rotary_model_computes_sequences_beyond_the_length_it_was_trained_on() {
    // Its config says 128.
    on_every_device("llama", |decoder| forward(decoder, &[sequence(1, 140)]).unwrap());
}

#[test]
fn an_empty_prompt_is_refused() {
    let none: [Vec<u32>; 0] = [];
    assert!(matches!(TokenBatch::new(&none), Err(ModelError::EmptyPrompt { prompt: 0 })));
    let error = TokenBatch::new(&[vec![1], vec![], vec![2]]).unwrap_err();
    assert!(matches!(error, ModelError::EmptyPrompt { prompt: 1 }), "{error:?}");
    on_every_device("llama", |decoder| {
        let cache = decoder.prefix_cache(1, 4, Tap::Block(1)).unwrap();
        let error = decoder.candidates(&cache, &[], Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::EmptyPrompt { .. }), "{error:?}");
    });
}

#[test]
fn prompts_on_both_sides_of_the_rotary_switch_are_refused_a_common_batch() {
    on_every_device("phi4", |decoder| {
        let error = forward(decoder, &[sequence(1, 40), sequence(2, 30)]).unwrap_err();
        assert!(matches!(error, ModelError::MixedRotary { shorter: 30, longer: 40 }), "{error:?}");
        forward(decoder, &[sequence(1, 30), sequence(2, 32)]).unwrap();
        forward(decoder, &[sequence(1, 33), sequence(2, 40)]).unwrap();
    });
    on_every_device("llama", |decoder| forward(decoder, &[sequence(1, 40), sequence(2, 30)]).unwrap());
}

#[test]
fn a_tap_that_the_model_does_not_have_is_refused() {
    for_each_family(|decoder| {
        let n_layers = decoder.config().n_layers();
        for block in [0, n_layers + 1, usize::MAX] {
            let tap = Tap::Block(block);
            let mut cache = decoder.prefix_cache(1, 4, Tap::FinalNorm).unwrap();
            let tokens = batch(&[[1, 2]]);
            let errors = [
                decoder.forward(&tokens, &[Tap::Embedding, tap], Logits::None).map(|_| ()).unwrap_err(),
                decoder.prefix_cache(1, 4, tap).map(|_| ()).unwrap_err(),
                decoder.candidates(&cache, &[1], tap).map(|_| ()).unwrap_err(),
                decoder.extend(&mut cache, &tokens, &[tap], Logits::None).map(|_| ()).unwrap_err(),
            ];
            for error in errors {
                let expected = TapError::NoSuchBlock { block, n_layers };
                assert!(matches!(&error, ModelError::Tap(found) if *found == expected), "{error:?}");
            }
        }
    });
}

#[test]
fn more_tokens_than_a_cache_was_made_for_are_refused() {
    for_each_family(|decoder| {
        let mut cache = decoder.prefix_cache(1, 5, Tap::FinalNorm).unwrap();
        let mut extend = |len| {
            decoder.extend(&mut cache, &batch(&[sequence(1, len)]), &[], Logits::None).map(|_| cache.len())
        };
        assert_eq!(extend(3).unwrap(), 3);
        let error = extend(3).unwrap_err();
        assert!(matches!(error, ModelError::CacheFull { held: 3, capacity: 5, more: 3 }), "{error:?}");
        assert_eq!(extend(2).unwrap(), 5);
        let error = decoder.candidates(&cache, &[1, 2], Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::CacheFull { held: 5, capacity: 5, more: 1 }), "{error:?}");
    });
}

#[test]
fn a_cache_for_one_block_refuses_the_next() {
    for_each_family(|decoder| {
        let mut cache = decoder.prefix_cache(1, 4, Tap::Block(1)).unwrap();
        let mut refused = |taps: &[Tap], logits| {
            let error = decoder.extend(&mut cache, &batch(&[[1]]), taps, logits).map(|_| ()).unwrap_err();
            assert!(cache.is_empty());
            match error {
                ModelError::CacheMismatch { found, expected } => {
                    assert_eq!(expected, "taps up to block-1");
                    found
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&[Tap::Block(2)], Logits::None), "block-2");
        assert_eq!(refused(&[Tap::FinalNorm, Tap::Embedding], Logits::None), "final-norm");
        assert_eq!(refused(&[], Logits::Last), "final-norm");
        let error = decoder.candidates(&cache, &[1], Tap::Block(2)).unwrap_err();
        assert!(matches!(error, ModelError::CacheMismatch { .. }), "{error:?}");
        decoder.candidates(&cache, &[1], Tap::Block(1)).unwrap();
    });
}

#[test]
fn a_batch_of_another_size_or_of_several_lengths_does_not_fit_a_cache() {
    for_each_family(|decoder| {
        let mut cache = decoder.prefix_cache(2, 8, Tap::FinalNorm).unwrap();
        let mut mismatch = |prompts: &[Vec<u32>]| {
            let error =
                decoder.extend(&mut cache, &batch(prompts), &[], Logits::None).map(|_| ()).unwrap_err();
            assert!(cache.is_empty());
            match error {
                ModelError::CacheMismatch { found, expected } => (found, expected),
                other => panic!("{other:?}"),
            }
        };
        let pair = |found: &str, expected: &str| (found.to_owned(), expected.to_owned());
        assert_eq!(mismatch(&[vec![1]]), pair("1 sequences", "2 sequences"));
        assert_eq!(mismatch(&[vec![1, 2], vec![3]]), pair("1 tokens", "2 tokens for every sequence"));
        let error = decoder.candidates(&cache, &[1], Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::CacheMismatch { .. }), "{error:?}");
    });
}
