//! Points of the embedding space in place of tokens.

use burn::tensor::{Int, Tensor, TensorData};
use inject_models::{Logits, ModelError, Tap};

use super::{LENGTHS, Subject, batch, for_each_decoder, sequence};
use crate::fixture::values;

/// The rows of the embedding that belong to some tokens.
fn rows(subject: &Subject, ids: &[u32]) -> Tensor<2> {
    let count = ids.len();
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let data = TensorData::new(ids, [count]);
    subject.decoder.token_embedding().select(0, Tensor::<1, Int>::from_data(data, &subject.decoder.device()))
}

/// One list of states for each sequence.
fn states(tensor: Tensor<3>) -> Vec<Vec<Vec<f64>>> {
    let [_, positions, d_model] = tensor.dims();
    let states: Vec<Vec<f64>> = values(tensor).chunks(d_model).map(<[f64]>::to_vec).collect();
    states.chunks(positions).map(<[Vec<f64>]>::to_vec).collect()
}

#[test]
fn rows_of_the_embedding_have_the_states_of_their_tokens() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompts = [sequence(20, len), sequence(21, len), sequence(22, len)];
            let expected = subject.forward(&prompts);
            let embeddings =
                rows(subject, &prompts.concat()).reshape([3, len, subject.decoder.config().d_model]);
            for tap in subject.taps() {
                let found = states(subject.decoder.forward_from_embeddings(embeddings.clone(), tap).unwrap());
                for (prompt, found) in found.iter().enumerate() {
                    subject.assert_all_same(tap, found, &expected[&tap][prompt], &format!("prompt {prompt}"));
                }
            }
        }
    });
}

#[test]
fn rows_of_the_embedding_are_candidates_like_their_tokens() {
    for_each_decoder(|subject| {
        let ids = sequence(23, 40);
        let mut cache = subject.decoder.prefix_cache(1, 24, Tap::FinalNorm).unwrap();
        subject.decoder.extend(&mut cache, &batch(&[sequence(24, 11)]), &[], Logits::None).unwrap();
        for tap in subject.taps() {
            let expected = subject.decoder.candidates(&cache, &ids, tap).unwrap();
            let found = subject.decoder.candidates_from_embeddings(&cache, rows(subject, &ids), tap).unwrap();
            let (expected, found) = (states(expected.unsqueeze()), states(found.unsqueeze()));
            subject.assert_all_same(tap, &found[0], &expected[0], "from rows");
        }
    });
}

#[test]
fn points_that_the_model_cannot_take_are_refused() {
    for_each_decoder(|subject| {
        let (decoder, d_model) = (&subject.decoder, subject.decoder.config().d_model);
        let device = decoder.device();
        let points = |shape: [usize; 3]| Tensor::<3>::zeros(shape, (&device, decoder.dtype()));
        let refused =
            |shape, tap| decoder.forward_from_embeddings(points(shape), tap).map(|_| ()).unwrap_err();
        let error = refused([1, 4, d_model + 1], Tap::Block(1));
        let ModelError::EmbeddingWidth { found, expected } = error else { panic!("{error:?}") };
        assert_eq!((found, expected), (d_model + 1, d_model));
        assert!(matches!(refused([1, 0, d_model], Tap::Block(1)), ModelError::EmptyPrompt { prompt: 0 }));
        assert!(matches!(refused([1, 4, d_model], Tap::Block(99)), ModelError::Tap(_)));
        if let Some(max_len) = decoder.config().max_len() {
            let error = refused([1, max_len + 1, d_model], Tap::Block(1));
            assert!(matches!(error, ModelError::TooLong { .. }), "{error:?}");
        }
        let cache = decoder.prefix_cache(1, 4, Tap::Block(1)).unwrap();
        let narrow = Tensor::zeros([2, d_model - 1], (&device, decoder.dtype()));
        let error = decoder.candidates_from_embeddings(&cache, narrow, Tap::Block(1)).unwrap_err();
        assert!(matches!(error, ModelError::EmbeddingWidth { .. }), "{error:?}");
    });
}
