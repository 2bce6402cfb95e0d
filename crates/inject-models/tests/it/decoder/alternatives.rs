//! Alternatives to some tokens of a run, in the pass of the run.

use inject_models::{Alternative, FloatFormat, Logits, ModelError, Tap};

use super::{LENGTHS, VOCAB_SIZE, batch, for_each_decoder, sequence, states};
use crate::fixture::{self, values};

#[test]
fn run_and_alternatives_have_the_states_they_have_in_whole_sequences() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompt = sequence(20, len);
            // The empty prefix; within and beyond a window of eight.
            for (held, run) in [(0, len), (5, 12), (20, 4)] {
                let others: Vec<Alternative> = (0..run)
                    .step_by(3)
                    .chain([0, run - 1])
                    .enumerate()
                    .map(|(number, place)| Alternative { place, id: (number * 17 + 3) as u32 % VOCAB_SIZE })
                    .collect();
                let whole: Vec<Vec<u32>> = others
                    .iter()
                    .map(|other| {
                        let mut ids = prompt.clone();
                        ids[held + other.place] = other.id;
                        ids
                    })
                    .chain([prompt.clone()])
                    .collect();
                let expected = subject.forward(&whole);
                let d_model = subject.decoder.config().d_model;
                for tap in subject.taps() {
                    let mut cache = subject.decoder.prefix_cache(1, len, Tap::FinalNorm).unwrap();
                    if held > 0 {
                        let prefix = batch(&[&prompt[..held]]);
                        subject.decoder.extend(&mut cache, &prefix, &[], Logits::None).unwrap();
                    }
                    let tokens = batch(&[&prompt[held..held + run]]);
                    let (run_states, beside) =
                        subject.decoder.extend_with_alternatives(&mut cache, &tokens, &others, tap).unwrap();
                    let rows = |tensor| -> Vec<Vec<f64>> {
                        values(tensor).chunks(d_model).map(<[f64]>::to_vec).collect()
                    };
                    let of_prompt = &expected[&tap][others.len()];
                    subject.assert_all_same(tap, &rows(run_states), &of_prompt[held..held + run], "run");
                    for (number, (other, found)) in others.iter().zip(rows(beside)).enumerate() {
                        let expected = &expected[&tap][number][held + other.place];
                        subject.assert_same(tap, &found, expected, &format!("{other:?} of {held}+{run}"));
                    }
                    // The cache holds the run and nothing else.
                    assert_eq!(cache.len(), held + run);
                    if held + run < len {
                        let next = batch(&[&prompt[held + run..held + run + 1]]);
                        let forward =
                            subject.decoder.extend(&mut cache, &next, &[tap], Logits::None).unwrap();
                        let found = &states(forward)[&tap][0];
                        subject.assert_all_same(tap, found, &of_prompt[held + run..], "after the run");
                    }
                }
            }
        }
    });
}

#[test]
fn an_alternative_that_has_no_place_is_refused() {
    for device in inject_testing::compiled() {
        let decoder = fixture::load("llama", FloatFormat::F32, &device).decoder;
        let mut cache = decoder.prefix_cache(1, 8, Tap::Block(1)).unwrap();
        let tokens = batch(&[sequence(1, 3)]);
        let mut refused = |alternatives: &[Alternative], tap| {
            let error = decoder.extend_with_alternatives(&mut cache, &tokens, alternatives, tap).unwrap_err();
            assert!(cache.is_empty());
            error
        };
        let error = refused(&[Alternative { place: 3, id: 1 }], Tap::Block(1));
        assert!(matches!(error, ModelError::NoSuchPlace { place: 3, tokens: 3 }), "{error:?}");
        let error = refused(&[Alternative { place: 0, id: VOCAB_SIZE }], Tap::Block(1));
        assert!(matches!(error, ModelError::TokenId { found: VOCAB_SIZE, .. }), "{error:?}");
        assert!(matches!(refused(&[], Tap::Block(1)), ModelError::EmptyPrompt { .. }));
        let error = refused(&[Alternative { place: 0, id: 1 }], Tap::FinalNorm);
        assert!(matches!(error, ModelError::CacheMismatch { .. }), "{error:?}");

        let mut two = decoder.prefix_cache(2, 8, Tap::Block(1)).unwrap();
        let tokens = batch(&[sequence(1, 3), sequence(2, 3)]);
        let one = [Alternative { place: 0, id: 1 }];
        let error = decoder.extend_with_alternatives(&mut two, &tokens, &one, Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::CacheMismatch { .. }), "{error:?}");
    }
}
