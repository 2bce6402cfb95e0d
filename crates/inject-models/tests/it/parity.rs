//! States at every tap against Hugging Face transformers, for every family.
//!
//! Tolerance, per tap and position, as an L2 distance: four times the larger of transformers' own float32 error at that
//! tap (its maximum, stored in the fixture) and 2e-7 times the norm of the state. In float64 the reference has no error to
//! speak of; there the tolerance is 1e-12 of the norm, some thousand roundings.

use burn::tensor::Device;
use inject_models::{Logits, Precision, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::fixture::{self, distance, golden, norm, values};

const CASES: [(&str, &str); 16] = [
    ("gpt2", "golden"),
    ("gpt2-hub-names", "golden"),
    ("gpt-neo", "golden"),
    ("gpt-neo-bin", "golden"),
    ("llama", "golden"),
    ("llama3-scaling", "golden"),
    ("llama-linear", "golden"),
    ("llama-bf16-shards", "golden"),
    ("mistral", "golden"),
    ("mistral-full", "golden"),
    ("gemma3", "golden"),
    ("gemma3-old", "golden"),
    ("gemma3-multimodal", "golden"),
    ("phi3", "golden"),
    ("phi4", "golden"),
    ("phi4", "golden-long"),
];

#[test]
fn states_at_every_tap_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (case, file) in CASES {
            let worst = check(case, file, Precision::F32, &device);
            println!("{case}/{file} on {device:?}: worst distance {worst:.2} of the tolerance");
        }
    }
}

#[test]
fn states_in_f64_equal_the_reference_to_the_last_digits() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for (case, file) in CASES {
            check(case, file, Precision::F64, &device);
        }
    }
}

/// The largest distance as a share of its tolerance.
fn check(case: &str, file: &str, precision: Precision, device: &Device) -> f64 {
    let bytes = std::fs::read(fixture::folder(case).join(format!("{file}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (expected, noise) = (golden(&file, "states"), golden(&file, "f32_noise"));
    let prompts = fixture::ids(&golden(&file, "input_ids"));
    let model = fixture::load(case, precision, device);
    let n_layers = model.decoder.config().n_layers();
    let taps = Tap::all(n_layers);
    assert_eq!(taps.len(), expected.shape[0]);

    let batch = TokenBatch::new(&prompts).unwrap();
    let forward = model.decoder.forward(&batch, &taps, Logits::All).unwrap();
    let d_model = expected.shape[3];
    let rows = prompts.len() * prompts[0].len();
    let mut worst: f64 = 0.0;
    for (index, tap) in taps.into_iter().enumerate() {
        let found = values(forward.states[&tap].clone());
        let expected = &expected.values[index * rows * d_model..][..rows * d_model];
        for (row, (found, expected)) in found.chunks(d_model).zip(expected.chunks(d_model)).enumerate() {
            let tolerance = match precision {
                Precision::F32 => 4.0 * noise.values[index].max(2e-7 * norm(expected)),
                Precision::F64 => 1e-12 * norm(expected),
            };
            let distance = distance(found, expected);
            assert!(
                distance <= tolerance,
                "{case} in {precision:?} on {device:?}, {tap}, row {row}: {distance:e} > {tolerance:e}"
            );
            worst = worst.max(distance / tolerance);
        }
    }
    check_logits(case, &golden(&file, "logits"), &values(forward.logits.unwrap()), precision);
    worst
}

/// Logits have no stored noise: they are the head's product of states that are within tolerance already.
fn check_logits(case: &str, expected: &fixture::Golden, found: &[f64], precision: Precision) {
    let vocab_size = *expected.shape.last().unwrap();
    for (expected, found) in expected.values.chunks(vocab_size).zip(found.chunks(vocab_size)) {
        let share = match precision {
            Precision::F32 => 1e-4,
            Precision::F64 => 1e-12,
        };
        assert!(distance(found, expected) <= share * norm(expected), "{case}: logits");
    }
}
