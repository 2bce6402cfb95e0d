//! The time of a forward pass of whole prompts to the final norm.
//!
//! Sizes are `batch x positions`. Neither the head nor a cache is used. The peer is transformers' `model.model` (or
//! `.transformer`) with `use_cache=False`.

#![allow(missing_docs, reason = "the macros of criterion define public functions")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use inject_benches::{Shape, device, ids, wait};
use inject_sipit::models::{Logits, Tap, TokenBatch};

const SIZES: [(usize, usize); 3] = [(1, 64), (8, 64), (1, 512)];

fn forward(criterion: &mut Criterion) {
    let device = device();
    let mut group = criterion.benchmark_group("forward");
    group.sampling_mode(SamplingMode::Flat);
    for shape in Shape::COMPARED {
        let decoder = shape.decoder(&device);
        for (batch, positions) in SIZES {
            let all = ids(batch * positions, decoder.config().vocab_size);
            let prompts: Vec<&[u32]> = all.chunks(positions).collect();
            let tokens = TokenBatch::new(&prompts).expect("no prompt is empty");
            let flop = (batch * positions) as f64 * decoder.config().flops_per_token(Tap::FinalNorm);
            group.throughput(Throughput::Elements(flop as u64));
            group.bench_function(
                BenchmarkId::new(shape.to_string(), format!("{batch}x{positions}")),
                |bencher| {
                    bencher.iter(|| {
                        let forward = decoder.forward(&tokens, &[Tap::FinalNorm], Logits::None);
                        wait(&device);
                        forward.expect("ids of this vocabulary")
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(8));
    targets = forward
}
criterion_main!(benches);
