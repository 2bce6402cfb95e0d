//! The time of the states of many candidates for one next token, as a share of the machine's GEMM rate.
//!
//! - `gemm`: the machine's rate of matrix products, `rows x in x out` in f32, by the same backend in the same run.
//! - `candidates`: `model/tap/candidates` after a prefix of 16 tokens. The peer is a transformers model truncated after the
//!   same block. It repeats the prefix's cache for every candidate.
//! - `scan`: the exhaustive inverter on a small model, `positions x vocabulary`: candidates, states read back, distances
//!   in f64. The time divided by the number of positions is that of one scan of the vocabulary.

#![allow(missing_docs, reason = "the macros of criterion define public functions")]

use std::time::Duration;

use burn::tensor::{DType, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use inject_benches::{Shape, bundled, device, ids, prefix, random, states_of, wait};
use inject_sipit::{
    Inverter, Policy, Settings,
    models::{Tap, silent},
    settings::Scan,
};

const PREFIX: usize = 16;
/// Numbers of candidates, from those of the repair of one position to those of a scan of the vocabulary.
const COUNTS: [usize; 6] = [8, 16, 32, 64, 512, 2048];
/// The first feed-forward matrix of GPT-2 small; one of the same length for the width of SmolLM2-135M; the gate or up matrix of
/// Gemma-3-270M.
const PRODUCTS: [[usize; 3]; 3] = [[512, 768, 3072], [512, 576, 3072], [512, 640, 2048]];

fn gemm(criterion: &mut Criterion) {
    let device = device();
    let normal =
        |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), (&device, DType::F32));
    let mut group = criterion.benchmark_group("gemm");
    for [rows, d_in, d_out] in PRODUCTS {
        let (x, weight) = (normal([rows, d_in]), normal([d_in, d_out]));
        group.throughput(Throughput::Elements((2 * rows * d_in * d_out) as u64));
        group.bench_function(BenchmarkId::new("f32", format!("{rows}x{d_in}x{d_out}")), |bencher| {
            bencher.iter(|| {
                let product = x.clone().matmul(weight.clone());
                wait(&device);
                product
            });
        });
    }
    group.finish();
}

fn candidates(criterion: &mut Criterion) {
    let device = device();
    let mut group = criterion.benchmark_group("candidates");
    group.sampling_mode(SamplingMode::Flat);
    for shape in Shape::ALL {
        let decoder = shape.decoder(&device);
        let n_layers = decoder.config().n_layers();
        for tap in [Tap::Block(n_layers / 2), Tap::Block(n_layers)] {
            let cache = prefix(&decoder, PREFIX, tap);
            for count in COUNTS {
                let ids = ids(count, decoder.config().vocab_size);
                let flop = count as f64 * decoder.config().flops_per_token(tap);
                group.throughput(Throughput::Elements(flop as u64));
                group.bench_function(BenchmarkId::new(format!("{shape}/{tap}"), count), |bencher| {
                    bencher.iter(|| {
                        let states = decoder.candidates(&cache, &ids, tap);
                        wait(&device);
                        states.expect("ids of this vocabulary")
                    });
                });
            }
        }
    }
    group.finish();
}

fn scan(criterion: &mut Criterion) {
    let decoder = random(&bundled(), &device());
    let (n_layers, vocab_size) = (decoder.config().n_layers(), decoder.config().vocab_size);
    let tap = Tap::Block(n_layers.div_ceil(2));
    let prompt = ids(PREFIX + 1, vocab_size);
    let target = states_of(&decoder, &prompt, tap);

    let settings = Settings::new().with_scan(Scan::Whole);
    let policy = Policy::new();
    let inverter = Inverter::new(&decoder, tap, settings).expect("a tap of this model");
    let positions = prompt.len();
    let flop = (positions * vocab_size) as f64 * decoder.config().flops_per_token(tap);
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(flop as u64));
    let size = format!("{positions}x{vocab_size}");
    group.bench_function(BenchmarkId::new(format!("gpt2-tiny/{tap}"), size), |bencher| {
        bencher.iter(|| {
            let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent);
            inversion.expect("states of this model")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(8));
    targets = gemm, candidates, scan
}
criterion_main!(benches);
