//! Held weights that are rounded, saved or merged are first widened as far as that needs.

use std::fs;

use inject_models::{Decoder, FloatFormat, Hold, Logits, Model, Origin, Precision, Tap, TokenBatch};

use super::{MAPPED, load, precision};
use crate::fixture::{self, values};

#[test]
fn what_changes_weights_widens_them_first() {
    for device in inject_testing::compiled() {
        for case in ["llama-bf16-shards", "llama", "gpt-neox", "gpt2"] {
            let folder = fixture::folder(case);
            let batch = TokenBatch::new(&[[3, 1, 4, 1, 5]]).unwrap();
            let state = |decoder: &Decoder| {
                let tap = Tap::FinalNorm;
                values(decoder.forward(&batch, &[tap], Logits::None).unwrap().states[&tap].clone())
            };
            let plain = load(&folder, FloatFormat::F32, &device);
            for hold in [Hold::StoredOnDevice, Hold::Stored] {
                let held = load(&folder, precision(hold), &device);
                // The same tensors, so the same bits.
                let widened = held.clone().widened();
                assert_eq!(widened.held_in_files(), 0);
                assert_eq!(state(&widened), state(&plain), "{case} {hold:?}");
                for format in [FloatFormat::Bf16, FloatFormat::F16] {
                    let computing = |decoder: &Decoder| state(&decoder.clone().computing_in(format));
                    assert_eq!(computing(&held), computing(&plain), "{case} {hold:?} computing in {format}");
                }
                let rounded =
                    |decoder: &Decoder| state(&decoder.clone().with_weights_in(FloatFormat::F16).unwrap());
                assert_eq!(rounded(&held), rounded(&plain), "{case} {hold:?}");
                let int4 = inject_models::NumberFormat::Int4;
                let quantised = |decoder: &Decoder| state(&decoder.clone().with_weights_in(int4).unwrap());
                assert_eq!(quantised(&held), quantised(&plain), "{case} {hold:?}");
            }
        }
    }
}

#[test]
fn held_weights_are_saved_as_they_are() {
    let device = inject_testing::any_device();
    for case in ["llama-bf16-shards", "gpt-neox", "phi4", "gpt2"] {
        let written = |hold: Hold| {
            let model =
                Model::load(Origin::of_folder(&fixture::folder(case)), precision(hold), &device).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.safetensors");
            model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
            fs::read(path).unwrap()
        };
        let expected = written(Hold::Computed);
        assert!(written(Hold::Stored) == expected && written(Hold::StoredOnDevice) == expected, "{case}");
    }
}

#[test]
fn an_adapter_is_merged_into_held_weights() {
    let device = inject_testing::any_device();
    for case in ["llama", "gpt-neox", "phi4"] {
        let adapter = fixture::folder("adapters").join(case);
        let origin = Origin::of_folder(&fixture::folder(case)).with_adapter(&adapter);
        let batch = TokenBatch::new(&[[3, 1, 4, 1, 5]]).unwrap();
        let state = |precision: Precision| {
            let decoder = Model::load(origin.clone(), precision, &device).unwrap().decoder.widened();
            values(
                decoder.forward(&batch, &[Tap::FinalNorm], Logits::None).unwrap().states[&Tap::FinalNorm]
                    .clone(),
            )
        };
        assert_eq!(state(MAPPED), state(FloatFormat::F32.into()), "{case}");
    }
}

#[test]
fn a_model_can_be_loaded_to_compute_in_16_bits() {
    let device = inject_testing::any_device();
    let folder = fixture::folder("llama-bf16-shards");
    let batch = TokenBatch::new(&[[3, 1, 4, 1, 5]]).unwrap();
    let state = |decoder: Decoder| {
        values(
            decoder.forward(&batch, &[Tap::FinalNorm], Logits::None).unwrap().states[&Tap::FinalNorm].clone(),
        )
    };
    let expected = state(load(&folder, FloatFormat::F32, &device).computing_in(FloatFormat::Bf16));
    assert_eq!(state(load(&folder, FloatFormat::Bf16, &device)), expected);
}
