//! What the decoder promises beside parity, for one model of each family, in every precision the device has, with one
//! and with two lanes: however a state is computed, it is the same state.
//!
//! Tolerance: the parity tests hold every way of computing to the reference, within four times the larger of the
//! reference's own noise at that tap and 2e-7 of the norm (1e-12 of it in float64). Two ways can then differ by twice that
//! from each other. Float64 is what would show a mistake that is small, such as a key weighted e^-20 that should be hidden.

mod alternatives;
mod batch;
mod cache;
mod candidates;
mod embeddings;
mod init;
mod refusals;

use std::{collections::BTreeMap, num::NonZeroUsize};

use burn::tensor::Device;
use inject_models::{Decoder, Forward, Logits, Precision, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::fixture::{self, distance, golden, norm, values};

/// One length on each side of Phi's rotary switch at 32. Both are beyond the windows of 8, and within GPT-2's 48 positions.
const LENGTHS: [usize; 2] = [24, 44];

/// Tokens that every fixture knows.
const VOCAB_SIZE: u32 = 97;

/// At each tap, for each prompt, for each position: a state.
type States = BTreeMap<Tap, Vec<Vec<Vec<f64>>>>;

/// A decoder to hold a promise against.
struct Subject {
    label: String,
    decoder: Decoder,
    precision: Precision,
    /// The noise of the reference in float32, per tap.
    noise: BTreeMap<Tap, f64>,
}

fn for_each_decoder(check: impl Fn(&Subject)) {
    for device in inject_testing::compiled() {
        for case in fixture::ONE_PER_FAMILY {
            for precision in precisions(&device) {
                let decoder = fixture::load(case, precision, &device).decoder;
                let noise = noise_of(case, decoder.config().n_layers());
                for lanes in [1, 2] {
                    check(&Subject {
                        label: format!("{case} in {precision:?} on {device:?} in {lanes} lanes"),
                        decoder: decoder.clone().with_lanes(NonZeroUsize::new(lanes).unwrap()),
                        precision,
                        noise: noise.clone(),
                    });
                }
            }
        }
    }
}

fn precisions(device: &Device) -> Vec<Precision> {
    match inject_testing::computes_in_f64(device) {
        true => vec![Precision::F32, Precision::F64],
        false => vec![Precision::F32],
    }
}

/// The largest noise at each tap, over the golden files of a fixture.
fn noise_of(case: &str, n_layers: usize) -> BTreeMap<Tap, f64> {
    let mut noise = BTreeMap::new();
    for name in ["golden.safetensors", "golden-long.safetensors"] {
        let Ok(bytes) = std::fs::read(fixture::folder(case).join(name)) else { continue };
        let stored = golden(&SafeTensors::deserialize(&bytes).unwrap(), "f32_noise");
        for (tap, value) in Tap::all(n_layers).into_iter().zip(stored.values) {
            let largest = noise.entry(tap).or_insert(value);
            *largest = value.max(*largest);
        }
    }
    noise
}

/// A sequence of tokens without a pattern, one for each seed.
fn sequence(seed: usize, len: usize) -> Vec<u32> {
    (0..len)
        .map(|i| ((i * i * 7 + i * 31 + seed * 53 + seed * i + 11) % VOCAB_SIZE as usize) as u32)
        .collect()
}

fn batch(prompts: &[impl AsRef<[u32]>]) -> TokenBatch {
    TokenBatch::new(prompts).unwrap()
}

fn states(forward: Forward) -> States {
    let rows = |tensor: burn::tensor::Tensor<3>| {
        let [_, positions, d_model] = tensor.dims();
        let values = values(tensor);
        let states = values.chunks(d_model).map(<[f64]>::to_vec).collect::<Vec<_>>();
        states.chunks(positions).map(<[Vec<f64>]>::to_vec).collect()
    };
    forward.states.into_iter().map(|(tap, tensor)| (tap, rows(tensor))).collect()
}

impl Subject {
    fn taps(&self) -> Vec<Tap> {
        Tap::all(self.decoder.config().n_layers())
    }

    /// The states at every tap, computed in one go.
    fn forward(&self, prompts: &[impl AsRef<[u32]>]) -> States {
        states(self.decoder.forward(&batch(prompts), &self.taps(), Logits::None).unwrap())
    }

    fn assert_same(&self, tap: Tap, found: &[f64], expected: &[f64], what: &str) {
        let parity = match self.precision {
            Precision::F32 => 4.0 * self.noise[&tap].max(2e-7 * norm(expected)),
            Precision::F64 => 1e-12 * norm(expected),
        };
        let distance = distance(found, expected);
        assert!(distance <= 2.0 * parity, "{}, {tap}, {what}: {distance:e} > {:e}", self.label, 2.0 * parity);
    }

    /// Compares position after position, as far as the first of the two goes.
    fn assert_all_same(&self, tap: Tap, found: &[Vec<f64>], expected: &[Vec<f64>], what: &str) {
        assert!(!found.is_empty());
        for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.assert_same(tap, found, expected, &format!("{what}, position {position}"));
        }
    }
}
