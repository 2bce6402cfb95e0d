//! States at every tap against Hugging Face transformers, for every family, within [`fixture::tolerance`].

use burn::tensor::Device;
use inject_models::{Decoder, FloatFormat, Forward, Logits, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::fixture::{self, Golden, distance, golden, norm, values};

pub(crate) const CASES: [(&str, &str); 24] = [
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
    ("qwen2", "golden"),
    ("qwen3", "golden"),
    ("gemma2", "golden"),
    ("gpt-neox", "golden"),
    ("gpt-neox-odd", "golden"),
    ("gpt-neox-sequential", "golden"),
    ("smollm3", "golden"),
    ("olmo2", "golden"),
];

#[test]
fn every_family_has_a_reference() {
    fixture::check_families(CASES.map(|(case, _)| case));
}

#[test]
fn states_at_every_tap_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (case, file) in CASES {
            let worst = check(case, file, FloatFormat::F32, &device);
            println!("{case}/{file} on {device:?}: worst distance {worst:.2} of the tolerance");
        }
    }
}

#[test]
fn states_in_f64_equal_the_reference_to_the_last_digits() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for (case, file) in CASES {
            check(case, file, FloatFormat::F64, &device);
        }
    }
}

/// Compares a fixture with its golden file and returns the largest distance as a share of its tolerance.
fn check(case: &str, file: &str, format: FloatFormat, device: &Device) -> f64 {
    check_decoder(case, file, format, device, &fixture::load(case, format, device).decoder)
}

/// Compares a decoder with the golden file of a fixture, and returns the largest distance as a share of its tolerance.
pub(crate) fn check_decoder(
    case: &str,
    file: &str,
    format: FloatFormat,
    device: &Device,
    decoder: &Decoder,
) -> f64 {
    let bytes = std::fs::read(fixture::folder(case).join(format!("{file}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (expected, noise) = (golden(&file, "states"), golden(&file, "f32_noise"));
    let prompts = fixture::ids(&golden(&file, "input_ids"));
    let taps = Tap::all(decoder.config().n_layers());
    assert_eq!(taps.len(), expected.shape[0]);

    let batch = TokenBatch::new(&prompts).unwrap();
    let forward = decoder.forward(&batch, &taps, Logits::All).unwrap();
    let d_model = expected.shape[3];
    let rows = prompts.len() * prompts[0].len();
    let mut worst: f64 = 0.0;
    for (index, tap) in taps.into_iter().enumerate() {
        let found = values(forward.states[&tap].clone());
        let expected = &expected.values[index * rows * d_model..][..rows * d_model];
        for (row, (found, expected)) in found.chunks(d_model).zip(expected.chunks(d_model)).enumerate() {
            let tolerance = fixture::tolerance(format, noise.values[index], expected);
            let distance = distance(found, expected);
            assert!(
                distance <= tolerance,
                "{case} in {format} on {device:?}, {tap}, row {row}: {distance:e} > {tolerance:e}"
            );
            worst = worst.max(distance / tolerance);
        }
    }
    let expected_states = &expected.values[(expected.shape[0] - 1) * rows * d_model..];
    check_logits(case, format, decoder, &forward, expected_states, &golden(&file, "logits"));
    worst
}

/// The logits of a state are the head's product with it. Products with states that are `distance` apart differ by at most
/// `|head| distance`, where `|head|` is the Frobenius norm. In whatever order a product of `d_model` terms is summed, it
/// is rounded by at most `d_model u |row| |state|`, which makes `d_model u |head| |state|` over all rows of the head. The
/// reference rounds so once more, in float64.
fn check_logits(
    case: &str,
    format: FloatFormat,
    decoder: &Decoder,
    forward: &Forward,
    expected_states: &[f64],
    expected: &Golden,
) {
    let head = norm(&values(decoder.own_head().unwrap_or_else(|| decoder.token_embedding())));
    let (d_model, vocab_size) = (decoder.config().d_model, decoder.config().vocab_size);
    let states = values(forward.states[&Tap::FinalNorm].clone());
    let logits = values(forward.logits.clone().unwrap());
    let unit = format.rounding_error(1.0) + FloatFormat::F64.rounding_error(1.0);
    for (row, expected) in expected.values.chunks(vocab_size).enumerate() {
        let of_row = |values: &[f64], width: usize| values[row * width..][..width].to_vec();
        let (state, expected_state) = (of_row(&states, d_model), of_row(expected_states, d_model));
        let apart = distance(&state, &expected_state);
        let tolerance = head * (apart + d_model as f64 * unit * norm(&state));
        let found = distance(&of_row(&logits, vocab_size), expected);
        assert!(found <= tolerance, "{case} in {format}: logits of row {row}: {found:e} > {tolerance:e}");
    }
}
