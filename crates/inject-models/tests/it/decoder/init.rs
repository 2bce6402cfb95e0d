//! Decoders with random parameters, and how many parameters there are.

use burn::{module::Module, tensor::Device};
use inject_models::{Decoder, DecoderConfig, FloatFormat, Logits, Tap};

use super::{batch, sequence, states};
use crate::fixture;

const CASES: [&str; 22] = [
    "gpt2",
    "gpt2-hub-names",
    "gpt-neo",
    "gpt-neo-bin",
    "llama",
    "llama3-scaling",
    "llama-linear",
    "llama-bf16-shards",
    "mistral",
    "mistral-full",
    "gemma3",
    "gemma3-old",
    "gemma3-multimodal",
    "phi3",
    "phi4",
    "qwen2",
    "qwen3",
    "gemma2",
    "gpt-neox",
    "gpt-neox-sequential",
    "smollm3",
    "olmo2",
];

#[test]
fn every_family_is_drawn() {
    fixture::check_families(CASES);
}

fn config(case: &str, device: &Device) -> DecoderConfig {
    fixture::load(case, FloatFormat::F32, device).decoder.config().clone()
}

#[test]
fn the_number_of_parameters_is_that_of_the_loaded_tensors() {
    for device in inject_testing::compiled() {
        for case in CASES {
            let decoder = fixture::load(case, FloatFormat::F32, &device).decoder;
            assert_eq!(decoder.config().n_parameters(), decoder.num_params(), "{case}");
        }
    }
}

#[test]
fn a_random_decoder_has_the_form_of_its_config_and_finite_states() {
    for device in inject_testing::compiled() {
        for case in CASES {
            let config = config(case, &device);
            for std in [0.02, 1.0] {
                let decoder = seeded(&config, std, &device);
                assert_eq!(decoder.num_params(), config.n_parameters(), "{case}");
                assert_eq!(*decoder.config(), config);
                assert!(final_states(&decoder).iter().all(|value| value.is_finite()), "{case}");
            }
        }
        // In the same test, since the seed belongs to the device: nobody else may draw from it meanwhile.
        let config = config("llama", &device);
        let (first, again) = (seeded(&config, 0.02, &device), seeded(&config, 0.02, &device));
        assert_eq!(final_states(&first), final_states(&again));
    }
}

fn seeded(config: &DecoderConfig, std: f64, device: &Device) -> Decoder {
    device.seed(3);
    config.init(std, device)
}

/// The states of a prompt at every tap.
fn final_states(decoder: &Decoder) -> Vec<f64> {
    let taps = Tap::all(decoder.config().n_layers());
    let prompts = [sequence(1, 20), sequence(2, 20)];
    let states = states(decoder.forward(&batch(&prompts), &taps, Logits::None).unwrap());
    states.into_values().flatten().flatten().flatten().collect()
}
