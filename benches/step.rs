//! The time of computing one more token and its logits after a cached prefix.
//!
//! The size is the length of the prefix. Each weight is read once for two operations, so twice the GFLOP/s is the rate in GB/s
//! at which weights are read from memory. That rate limits a step. The peer is a transformers model with a `DynamicCache`.

#![allow(missing_docs, reason = "the macros of criterion define public functions")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use inject_benches::{Shape, device, prefix, wait};
use inject_sipit::models::{Logits, Tap, TokenBatch};

const PREFIXES: [usize; 2] = [64, 512];

fn step(criterion: &mut Criterion) {
    let device = device();
    let token = TokenBatch::new(&[[11]]).expect("one token");
    let mut group = criterion.benchmark_group("step");
    group.sampling_mode(SamplingMode::Flat);
    for shape in Shape::COMPARED {
        let decoder = shape.decoder(&device);
        let config = decoder.config();
        let head = 2 * config.vocab_size * config.d_model;
        let flop = config.flops_per_token(Tap::FinalNorm) as u64 + head as u64;
        group.throughput(Throughput::Elements(flop));
        for len in PREFIXES {
            let mut cache = prefix(&decoder, len, Tap::FinalNorm);
            group.bench_function(BenchmarkId::new(shape.to_string(), len), |bencher| {
                bencher.iter(|| {
                    cache.truncate(len);
                    let forward = decoder.extend(&mut cache, &token, &[], Logits::Last);
                    wait(&device);
                    forward.expect("the token fits the cache")
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(8));
    targets = step
}
criterion_main!(benches);
