//! Gradients of candidates, pulled back block by block.

use burn::tensor::{Device, Distribution, Tensor};
use inject_models::{
    Decoder, FloatFormat, Hold, Logits, Model, ModelError, Origin, Precision, PrefixCache, Tap, TokenBatch,
};

use crate::fixture::{self, ONE_PER_FAMILY, distance, load, norm, values};

const CANDIDATES: [u32; 3] = [5, 17, 40];

/// A cached prefix, longer than the windows and the rotary switch of the reference models.
fn prefix(decoder: &Decoder, tap: Tap) -> PrefixCache {
    let ids: Vec<u32> = (0..11).map(|i| i * 31 % 97).collect();
    let mut cache = decoder.prefix_cache(1, 14, tap).unwrap();
    decoder.extend(&mut cache, &TokenBatch::new(&[ids]).unwrap(), &[], Logits::None).unwrap();
    cache
}

fn covector(decoder: &Decoder, device: &Device) -> Tensor<2> {
    device.seed(3);
    let shape = [1, decoder.config().d_model];
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), (device, decoder.dtype()))
}

/// The gradient through the whole model at once.
fn expected(decoder: &Decoder, cache: &PrefixCache, tap: Tap, covector: Tensor<2>) -> Vec<f64> {
    let points = decoder.embeddings_of(&CANDIDATES).autodiff().require_grad();
    let states = decoder.candidates_from_embeddings(cache, points.clone(), tap).unwrap();
    let product = (states * covector.repeat_dim(0, CANDIDATES.len()).autodiff()).sum();
    values(points.grad_remove(&mut product.backward()).unwrap())
}

#[test]
fn a_gradient_block_by_block_is_that_through_the_whole_model() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for case in ONE_PER_FAMILY {
            let decoder = load(case, FloatFormat::F64, &device).decoder;
            for tap in Tap::all(decoder.config().n_layers()) {
                let cache = prefix(&decoder, tap);
                let covector = covector(&decoder, &device);
                let expected = expected(&decoder, &cache, tap, covector.clone());
                let found = values(decoder.pulled_back(&cache, &CANDIDATES, tap, covector).unwrap());
                // The same operations in f64, some of them on other groups of rows.
                let apart = distance(&found, &expected);
                assert!(apart <= 1e-12 * norm(&expected), "{case} {tap}: {apart:e}");
            }
        }
    }
}

#[test]
fn a_gradient_is_the_same_however_weights_are_held() {
    for device in inject_testing::compiled() {
        let folder = fixture::folder("llama-bf16-shards");
        let held = |hold: Hold| {
            let precision = Precision::new(hold, FloatFormat::F32);
            Model::load(Origin::of_folder(&folder), precision, &device).unwrap().decoder
        };
        let of_decoder = |decoder: &Decoder| {
            let tap = Tap::FinalNorm;
            let covector = covector(decoder, &device);
            values(decoder.pulled_back(&prefix(decoder, tap), &CANDIDATES, tap, covector).unwrap())
        };
        let pulled_back = |hold: Hold| of_decoder(&held(hold));
        let expected = pulled_back(Hold::Computed);
        for hold in [Hold::StoredOnDevice, Hold::Stored] {
            // Two blocks round some dozen times each, forward and backward, at 2^-24.
            let apart = distance(&pulled_back(hold), &expected);
            assert!(apart <= 1e-5 * norm(&expected), "{hold:?}: {apart:e}");
        }
        let dropped = held(Hold::Stored).with_weights_in_memory(0);
        assert_eq!(of_decoder(&dropped), pulled_back(Hold::Stored), "blocks that are dropped and read again");
    }
}

#[test]
fn a_covector_of_another_width_is_refused() {
    let device = inject_testing::any_device();
    let decoder = load("llama", FloatFormat::F32, &device).decoder;
    let cache = prefix(&decoder, Tap::Block(1));
    let d_model = decoder.config().d_model;
    let covector = Tensor::zeros([1, d_model + 1], &device);
    let error = decoder.pulled_back(&cache, &CANDIDATES, Tap::Block(1), covector).unwrap_err();
    let ModelError::EmbeddingWidth { found, expected } = error else { panic!("{error:?}") };
    assert_eq!((found, expected), (d_model + 1, d_model));
}
