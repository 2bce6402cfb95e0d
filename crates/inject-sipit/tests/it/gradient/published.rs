//! The published algorithm in plain loops, against the candidates of the source.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use burn::tensor::{DType, Tensor, TensorData};
use inject_sipit::{
    Policy, Settings, TargetStates,
    models::{
        Decoder, Family, FloatFormat, Logits, Model, Origin, PrefixCache, Tap, TokenBatch, host::to_host,
    },
    settings::Budget,
    sources::{Gradient, StepDecay},
};

use super::{Observed, Said};
use crate::small::{batches, invert, of_vocabulary, target};

/// Algorithm 3 of arXiv 2510.15511 with the additions of appendix E.1 and of the released code, step by step in plain loops: a step and a candidate,
/// which is the untested token nearest to the proxy; at the end of a window the proxy is put onto the candidate.
struct Replay<'a> {
    decoder: &'a Decoder,
    cache: &'a PrefixCache,
    tap: Tap,
    wanted: Vec<f64>,
    embedding: Vec<Vec<f64>>,
}

/// Both sides compute in f64. Rounding moves the proxy by less than 1e-12 in a window, as that of the hard prompts, and the order of
/// the tokens is that of `<row, proxy> - |row|^2 / 2`, rounded by about 1e-15. So a token proposed in the place of another one is
/// farther by a share of 1e-9 at the most. In f32 it would be 1e-4.
const WITHIN: f64 = 1e-9;

/// The same decoder in f64: its weights are those of f32.
fn in_f64(decoder: &Decoder) -> Decoder {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read(inject_testing::models::folder("llama").join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["vocab_size"] = decoder.config().vocab_size.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    decoder.save_weights(Family::Llama, FloatFormat::F32, &folder.path().join("model.safetensors")).unwrap();
    Model::load(Origin::of_folder(folder.path()), FloatFormat::F64, &decoder.device()).unwrap().decoder
}

/// One of the variants, in the words of its source.
struct Variant {
    source: Gradient,
    /// Whether the loss is the mean of the squares, not half their sum.
    mean: bool,
    window: usize,
    /// Whether the random token is itself a candidate, before any step.
    tests_start: bool,
    /// The size of a step, the first being step 0.
    size: fn(usize, usize) -> f64,
}

impl Replay<'_> {
    fn gradient(&self, proxy: &[f64], mean: bool) -> Vec<f64> {
        let (device, d_model) = (self.decoder.device(), proxy.len());
        let row = |values: Vec<f64>| {
            Tensor::<2>::from_data(TensorData::new(values, [1, d_model]), (&device, DType::F64))
        };
        let proxy = row(proxy.to_vec()).autodiff().require_grad();
        let state = self.decoder.candidates_from_embeddings(self.cache, proxy.clone(), self.tap).unwrap();
        let squares = (state - row(self.wanted.clone())).powi_scalar(2).sum();
        let loss = squares.mul_scalar(if mean { 1.0 / d_model as f64 } else { 0.5 });
        to_host(proxy.grad_remove(&mut loss.backward()).unwrap()).unwrap()
    }

    /// Follows the proposals call by call, and fails if the algorithm would propose others. Gives the norms of the
    /// gradients.
    fn follow(&self, label: &str, calls: &[Vec<u32>], start: u32, variant: &Variant) -> Vec<f64> {
        let distance = |id: u32, point: &[f64]| -> f64 {
            let row = &self.embedding[id as usize];
            row.iter().zip(point).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let mut proxy = self.embedding[start as usize].clone();
        let (mut tested, mut norms) = (HashSet::new(), Vec::new());
        for (call, ids) in calls.iter().enumerate() {
            let taken = if variant.tests_start { call } else { call + 1 };
            if let Some(step) = taken.checked_sub(1) {
                let gradient = self.gradient(&proxy, variant.mean);
                let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
                norms.push(norm);
                let clipped = if norm > 1.0 { 1.0 / norm } else { 1.0 };
                for (coordinate, slope) in proxy.iter_mut().zip(&gradient) {
                    *coordinate -= (variant.size)(step, variant.window) * clipped * slope;
                }
            }
            let untested = (0..self.embedding.len() as u32).filter(|id| !tested.contains(id));
            let mut distances: Vec<f64> = untested.map(|id| distance(id, &proxy)).collect();
            distances.sort_unstable_by(f64::total_cmp);
            for (&id, expected) in ids.iter().zip(distances) {
                let found = distance(id, &proxy);
                let apart = (found - expected).abs();
                assert!(apart <= WITHIN * expected, "{label}, call {call}: {found}, not {expected}");
                assert!(tested.insert(id), "{label}: {id} twice");
            }
            if taken > 0 && taken.is_multiple_of(variant.window) {
                proxy = self.embedding[ids[0] as usize].clone();
            }
        }
        norms
    }
}

/// From one to a hundredth within a window.
fn falling(step: usize, window: usize) -> f64 {
    1.0 + (0.01 - 1.0) * step as f64 / window as f64
}

/// As `torch.optim.lr_scheduler.LinearLR`, which stays where it arrived.
fn falling_once(step: usize, window: usize) -> f64 {
    falling(step.min(window), window)
}

#[test]
fn the_candidates_are_those_of_the_published_algorithm_in_their_order() {
    // Five windows or more after a token. The first position has twice the window in the released code with this vocabulary.
    for (vocab_size, at, first_window, most) in [(331, 1, 50, 331), (25_000, 0, 100, 410)] {
        let mut devices = inject_testing::compiled();
        devices.retain(inject_testing::computes_in_f64);
        let decoder = in_f64(&of_vocabulary("llama", vocab_size, 3, &devices[0]));
        let tap = Tap::Block(decoder.config().n_layers());
        // A state that no token has, so that none is accepted.
        let mut states = target(&decoder, &[7, 11][..=at], tap).states().to_owned();
        states.row_mut(at).iter_mut().enumerate().for_each(|(i, value)| *value += [1.5, -1.0, 0.5][i % 3]);
        let states = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let mut cache = decoder.prefix_cache(1, at + 1, tap).unwrap();
        if at > 0 {
            decoder.extend(&mut cache, &TokenBatch::new(&[&[7]]).unwrap(), &[], Logits::None).unwrap();
        }
        let embedding: Vec<f64> = to_host(decoder.token_embedding()).unwrap();
        let replay = Replay {
            decoder: &decoder,
            cache: &cache,
            tap,
            wanted: states.state(at).to_vec(),
            embedding: embedding.chunks(decoder.config().d_model).map(<[f64]>::to_vec).collect(),
        };
        let proposed = |source: Gradient| -> Vec<Vec<u32>> {
            let said = Arc::new(Mutex::new(Said::default()));
            let policy = Policy::new().then(Observed { source, said: said.clone() });
            let budget = Budget::unlimited().with_candidates(most);
            invert(&decoder, &states, &policy, Settings::new().with_budget(budget)).unwrap();
            let said = std::mem::take(&mut *said.lock().unwrap());
            let here = said.proposals.into_iter().filter(|(prefix, _)| prefix.len() == at);
            let calls: Vec<Vec<u32>> = here.map(|(_, ids)| ids).collect();
            assert!(calls.iter().map(Vec::len).sum::<usize>() >= most);
            calls
        };
        let (printed, released) = (Gradient::printed(4), Gradient::released(4));
        let variant = |source: &Gradient, mean: bool, window, size| Variant {
            source: source.clone(),
            mean,
            window,
            tests_start: mean,
            size,
        };
        // The random token is the same for both, but only the released code proposes it.
        let start = proposed(released.clone())[0][0];
        let variants = [
            variant(&printed, false, 50, |_, _| 1.0),
            variant(&released, true, first_window, falling_once),
            variant(&printed.clone().decaying(StepDecay::Once), false, 50, falling_once),
            variant(
                &released.clone().decaying(StepDecay::EveryWindow),
                true,
                first_window,
                |step, window| falling(step % window, window),
            ),
            variant(&released.clone().snapping(batches(2)), true, first_window, falling_once),
            variant(&released.clone().with_step_size(0.5), true, first_window, |step, window| {
                0.5 * falling_once(step, window)
            }),
        ];
        let (mut different, mut norms) = (HashSet::new(), Vec::new());
        for variant in &variants {
            let calls = proposed(variant.source.clone());
            let label = format!("{at}, {:?}", variant.source);
            norms.extend(replay.follow(&label, &calls, start, variant));
            assert!(calls.len() > 2 * variant.window, "{label}: {} calls", calls.len());
            different.insert(calls);
        }
        assert_eq!(different.len(), variants.len());
        // Some gradients are clipped and some are not.
        assert!(norms.iter().any(|norm| *norm > 2.0) && norms.iter().any(|norm| *norm < 0.5), "{norms:?}");
    }
}
