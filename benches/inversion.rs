//! The time of an inversion, compared with that of the one forward pass that every inversion needs.
//!
//! - `draft`: `model/tap/positions`, with a correct draft of the prompt: one forward pass, states read back, every position
//!   compared in f64. `forward` is the time of the pass alone, and `noise` that of creating the inverter.
//! - `scan`: the first tokens of the vocabulary in batches of 512 until one fits. Its rate divided by that of `gemm` in the
//!   `candidates` benchmark, measured at the same time, is the share of the machine's GEMM rate that a scan reaches.

#![allow(missing_docs, reason = "the macros of criterion define public functions")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use inject_benches::{Shape, device, ids, states_of, wait};
use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    models::{Decoder, Logits, Tap, TokenBatch, silent},
    sources::Known,
};

const POSITIONS: usize = 64;
/// The number of candidates that a scan tests until it finds its token.
const SCANNED: usize = 4096;

fn invert(inverter: &Inverter<'_>, target: &TargetStates, policy: Policy, expected: &[u32]) {
    let mut searcher = inverter.searcher(&policy);
    let inversion = inverter.invert(target, &mut searcher, &mut silent).expect("states of this model");
    assert!(inversion.is_verified() && inversion.token_ids() == expected);
}

fn taps(decoder: &Decoder) -> [Tap; 3] {
    let n_layers = decoder.config().n_layers();
    [Tap::Block(1), Tap::Block(n_layers / 2), Tap::Block(n_layers)]
}

fn draft(criterion: &mut Criterion) {
    let device = device();
    for shape in Shape::ALL {
        let decoder = shape.decoder(&device);
        let prompt = ids(POSITIONS, decoder.config().vocab_size);
        for tap in taps(&decoder) {
            let target = states_of(&decoder, &prompt, tap);
            let mut group = criterion.benchmark_group("draft");
            group.sampling_mode(SamplingMode::Flat);
            let label = |what: &str| BenchmarkId::new(format!("{shape}/{tap}/{what}"), POSITIONS);
            let tokens = TokenBatch::new(std::slice::from_ref(&prompt)).expect("a prompt");
            group.bench_function(label("forward"), |bencher| {
                bencher.iter(|| {
                    let forward = decoder.forward(&tokens, &[tap], Logits::None);
                    wait(&device);
                    forward.expect("the prompt can be computed")
                });
            });
            group.bench_function(label("noise"), |bencher| {
                bencher
                    .iter(|| Inverter::new(&decoder, tap, Settings::default()).expect("a tap of this model"));
            });
            let inverter = Inverter::new(&decoder, tap, Settings::default()).expect("a tap of this model");
            let known = Known::new(prompt.clone());
            group.bench_function(label("draft"), |bencher| {
                bencher.iter(|| invert(&inverter, &target, Policy::new().then(known.clone()), &prompt));
            });
            group.finish();
        }
    }
}

fn scan(criterion: &mut Criterion) {
    let device = device();
    let mut group = criterion.benchmark_group("scan");
    group.sampling_mode(SamplingMode::Flat);
    for shape in Shape::ALL {
        let decoder = shape.decoder(&device);
        let tap = Tap::Block(decoder.config().n_layers() / 2);
        let prompt = [SCANNED as u32 - 1];
        let target = states_of(&decoder, &prompt, tap);
        let inverter = Inverter::new(&decoder, tap, Settings::default()).expect("a tap of this model");
        group.throughput(Throughput::Elements(
            (SCANNED as f64 * decoder.config().flops_per_token(tap)) as u64,
        ));
        group.bench_function(BenchmarkId::new(format!("{shape}/{tap}"), SCANNED), |bencher| {
            bencher.iter(|| invert(&inverter, &target, Policy::new(), &prompt));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = draft, scan
}
criterion_main!(benches);
